"""Free the disk of what no kept run needs: see `medcompare.prune`."""

import sys

from medcompare.prune import main

if __name__ == "__main__":
    sys.exit(main())
