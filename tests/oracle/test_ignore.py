"""Random ignore files exclude what moby's own matcher excludes, and are refused when it refuses them."""

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from watcher.buildkit import IgnorePatternError
from watcher.dockerignore.patterns import PatternMatcher, parse_dockerignore

FILES = 10_000
SEED = 20_261_128
SECONDS = 0.010  # for all paths of one ignore file, with what it takes to read it

NAMES = (
    "a",
    "b",
    "ab",
    "aab",
    "b.go",
    "a.b",
    "main_test.go",
    "vendor",
    "é",
    "x y",
    "-",
    "a-b",
    "A",
    "7",
    "日本",
)
PARTS = (
    *NAMES,
    *"* ** ? *.go a* *a **a a** *a* *** $ ^a . .. [ a] \\ { } a+ a. a|b (a) a{2} #a".split(),
    *"[ab] [^a] [a-c] [!a] [[:alpha:]] [^[:digit:]] []a] [a-] [*] [?/] [\\d]".split(),
    *r"\* \a \d \w+ \Q.b \pL \x61 \C \b".split(),
    "",
    " ",
)


def ignore_file(chance: random.Random) -> str:
    lines = []
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        parts = [
            "".join(chance.choices(PARTS, k=chance.choice((1, 1, 1, 2, 3))))
            for _ in range(chance.randint(1, 4))
        ]
        lines.append(chance.choice(("", "", "", "!", "/", " ", "!/", "**/")) + "/".join(parts))
    return chance.choice(("\n", "\r\n")).join(lines)


def hostile() -> Iterator[tuple[str, list[str]]]:
    """Files and paths that a matcher which backtracks needs seconds, or years, for."""
    long, deep = "a" * 250, "/".join(["a" * 30] * 60)
    for pattern in (
        "*a*a*a*a*a*a*c*a",
        "*a" * 60 + "c",
        "/".join(["**"] * 8 + ["a*"]),
        "**/a*" * 8,
        "**/a*/" * 20 + "c",
        "a{1,30}" * 20 + "c",
        "[^/]*" * 30 + "!",
        "?*" * 60 + "c",
        "*[a-z]*[a-z]*[a-z]*[a-z]*1",
        "**a" * 12 + "c",
        "**" + "/*" * 60 + "c",
    ):
        yield pattern, [long, deep, long + "c", deep + "/c"]
        yield f"**\n!{pattern}", [long, deep]


def paths(chance: random.Random) -> list[str]:
    return ["/".join(chance.choices(NAMES, k=chance.randint(1, 5))) for _ in range(20)]


def ours(text: str, asked: list[str]) -> tuple[list[str], list[bool] | None]:
    patterns = parse_dockerignore(text)
    try:
        matcher = PatternMatcher(patterns)
    except IgnorePatternError:
        return list(patterns), None
    return list(patterns), [matcher.excluded(path) for path in asked]


def test_ignore_files_mean_what_they_mean_to_docker(oracle: Callable[[str], Path]):
    chance = random.Random(SEED)
    questions = [(ignore_file(chance), paths(chance)) for _ in range(FILES)] + list(hostile())
    asked = "".join(json.dumps({"Text": text, "Paths": some}) + "\n" for text, some in questions)
    said = subprocess.run(
        [oracle("ignore")], input=asked, capture_output=True, text=True, check=True, timeout=120
    )

    refused = excluded = kept = 0
    for (text, some), line in zip(questions, said.stdout.splitlines(), strict=True):
        theirs = json.loads(line)
        patterns, answers = ours(text, some)
        assert patterns == (theirs["Patterns"] or []), repr(text)
        assert (answers is None) is theirs["Refused"], (
            f"refused by {'us' if answers is None else 'moby'}: {text!r}"
        )
        if answers is not None:
            assert dict(zip(some, answers, strict=True)) == dict(
                zip(some, theirs["Excluded"], strict=True)
            ), repr(text)
            excluded += sum(answers)
            kept += len(answers) - sum(answers)
        refused += answers is None
    print(f"{len(questions)} ignore files: {excluded} paths excluded, {kept} kept, {refused} files refused")
    assert min(refused, excluded, kept) > 100


def test_no_ignore_file_takes_long():
    for text, some in hostile():
        took = []
        for _ in range(3):
            begun = time.thread_time()
            ours(text, some)
            took.append(time.thread_time() - begun)
        assert min(took) < SECONDS, f"{min(took) * 1000:.0f} ms for {text[:60]!r}"
