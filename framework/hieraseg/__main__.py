"""`python -m hieraseg`."""

import sys

from hieraseg.cli import main

sys.exit(main())
