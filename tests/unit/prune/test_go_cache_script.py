"""The shell commands that look into Go's build cache, run in a real shell on a real folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from watcher.prune.go_cache_script import FOLDER, measure_script, parse_sizes, trim_script

HOUR = 3600.0
KB = 1024


def fill(folder: Path, name: str, kilobytes: int, age: float) -> Path:
    """A file of that size that was used `age` seconds ago."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * kilobytes * KB)
    used = file.stat().st_mtime - age
    os.utime(file, (used, used))
    return file


def run(script: str, folder: Path) -> list[str]:
    """Run a script on `folder` in the place of the folder of the mounts."""
    script = script.replace(FOLDER, str(folder))
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.replace(str(folder), FOLDER).splitlines()


def test_a_trim_removes_what_was_unused_for_longest_until_enough_is_gone(tmp_path: Path) -> None:
    oldest = fill(tmp_path, f"0/aa/{'a' * 64}-d", 100, 9 * HOUR)
    older = fill(tmp_path, f"1/bb/{'b' * 64}-d", 100, 8 * HOUR)
    old = fill(tmp_path, f"0/cc/{'c' * 64}-d", 100, 7 * HOUR)
    sizes = parse_sizes(run(trim_script([0, 1], 150, "n"), tmp_path))
    assert [file.exists() for file in (oldest, older, old)] == [False, False, True]
    assert 100 * KB <= sizes[0] < 130 * KB
    assert sizes[1] < 30 * KB


def test_what_was_used_lately_stays_even_if_nothing_else_can_go(tmp_path: Path) -> None:
    lately = fill(tmp_path, f"0/aa/{'a' * 64}-d", 10, 1.5 * HOUR)
    run(trim_script([0], 1000, "n"), tmp_path)
    assert lately.exists()


def test_only_entries_and_kept_programs_go(tmp_path: Path) -> None:
    names = ("trim.txt", "README", "aa/notes", "fuzz/corpus/x-d", "watcher-go-12345678/go", "aa/sub/x-a.d")
    others = [fill(tmp_path, f"0/{name}", 1, 99 * HOUR) for name in names]
    program = fill(tmp_path, "0/watcher-28b622b9d246", 1, 99 * HOUR)
    module = fill(tmp_path, f"1/aa/{'a' * 64}-d", 1, 99 * HOUR)
    run(trim_script([0], 1000, "n"), tmp_path)
    assert all(file.exists() for file in (*others, module))
    assert not program.exists()


def test_a_trim_with_nothing_to_remove_still_measures(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    assert set(parse_sizes(run(trim_script([0], 10, "n"), tmp_path))) == {0}
    assert set(parse_sizes(run(measure_script("n"), tmp_path))) == {0}


def test_other_output_is_not_taken_for_a_size() -> None:
    assert parse_sizes(["go: downloading", "12 /elsewhere/0", f"3\t{FOLDER}/7"]) == {7: 3 * KB}
