"""Check that this machine can run comparisons: see `medcompare.doctor`."""

import sys

from medcompare.doctor import main

if __name__ == "__main__":
    sys.exit(main())
