"""`python -m wattlens` is the `wattlens` command."""

import sys

from wattlens.cli import main

sys.exit(main())
