"""`python -m watcher`, and the command `watcher`."""

import sys
from typing import NoReturn

from watcher.system import early_listen


def main() -> NoReturn:
    """Have the ports first, then import and run the command."""
    early_listen.listen(sys.argv[1:])
    from watcher.cli.main import main as run  # noqa: PLC0415 - takes more than a second

    run()


if __name__ == "__main__":
    main()
