"""``python -m medcompare`` is the command ``medcompare``."""

import sys

from medcompare.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
