"""`python -m watcher`, and the command `watcher`."""

import sys
from typing import NoReturn

from watcher import early


def main() -> NoReturn:
    """Have the ports first, then import and run the command."""
    early.listen(sys.argv[1:])
    from watcher.cli import main as run  # noqa: PLC0415 - takes more than a second

    run()


if __name__ == "__main__":
    main()
