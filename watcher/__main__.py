"""`python -m watcher`, and the command `watcher`."""

import sys
from typing import NoReturn

from watcher.system import early_listen


def main() -> NoReturn:
    """Listen on the ports, then import what the command needs and run it."""
    early_listen.listen_early(sys.argv[1:])
    if sys.argv[1:2] != [early_listen.COMMAND]:
        from watcher.cli import quick  # noqa: PLC0415 - after the ports

        quick.run_quickly(sys.argv[1:])
    from watcher.cli.main import main as run  # noqa: PLC0415 - takes more than a second

    run()


if __name__ == "__main__":
    main()
