"""List and compare recorded runs: see `medcompare.runs.history_view`."""

import sys

from medcompare.runs.history_view import main

if __name__ == "__main__":
    sys.exit(main())
