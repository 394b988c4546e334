"""`python -m wattlens.companion ARGS`: `wattlens ARGS` as a child that ends when the process that started it is gone."""

import os
import sys

from energy_agent.runtime.parent import end_with_parent


def main() -> int:
    """Run the command line after the parent's pid."""
    from wattlens.cli import main as run

    end_with_parent()
    return run(sys.argv[2:]) if os.getppid() == int(sys.argv[1]) else 1  # it has died already


if __name__ == "__main__":
    sys.exit(main())
