"""Free the disk of what no kept run needs: see `medcompare.runs.prune`."""

import sys

from medcompare.runs.prune import main

if __name__ == "__main__":
    sys.exit(main())
