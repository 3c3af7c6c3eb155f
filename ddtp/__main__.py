"""`python -m ddtp` is the `ddtp` command."""

import sys

from ddtp.cli import main

if __name__ == "__main__":
    sys.exit(main())
