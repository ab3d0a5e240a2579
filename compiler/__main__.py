"""python -m rnnc"""

import sys

from rnnc.cli import main

if __name__ == "__main__":
    sys.exit(main())
