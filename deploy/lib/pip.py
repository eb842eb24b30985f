"""Run pip: the one of this environment, else the one that Python carries, straight from its wheel.

    python pip.py COMMAND ARGS... [-- COMMAND ARGS...]

Installing the carried pip takes longer than everything that ./dev asks of it. Several commands share the time
that loading it takes. The exit status is that of the last command; the error output of the others is dropped.
"""

import ensurepip
import os
import sys
import sysconfig
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def find_wheel() -> Path:
    """Return the wheel that ensurepip would install."""
    folders = [Path(ensurepip.__file__).parent / "_bundled"]
    if named := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        folders.insert(0, Path(named))  # of a distribution, like Debian's
    for folder in folders:
        if found := sorted(folder.glob("pip-*.whl")):
            return found[-1]
    sys.exit(f"this Python carries no pip: none in {', '.join(map(str, folders))}")


def split_commands(arguments: list[str]) -> list[list[str]]:
    """Split the arguments at each `--`."""
    commands: list[list[str]] = [[]]
    for each in arguments:
        if each == "--":
            commands.append([])
        else:
            commands[-1].append(each)
    return commands


def main() -> int:
    """Run the commands, all but the last one in a child process; return the status of the last."""
    if find_spec("pip") is None:
        sys.path.insert(0, str(find_wheel()))
    run_pip = import_module("pip._internal.cli.main").main

    *earlier, last = split_commands(sys.argv[1:])
    for command in earlier:
        if (child := os.fork()) == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = run_pip(command)
            sys.stdout.flush()
            os._exit(code)
        os.waitpid(child, 0)
    return int(run_pip(last))


if __name__ == "__main__":
    sys.exit(main())
