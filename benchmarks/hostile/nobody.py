"""No attack at all: what the same agent does in peace, to compare the attacks with."""

import time

from benchmarks.hostile.rig import Attack, Rig


def run(rig: Rig) -> None:
    """Wait."""
    time.sleep(rig.seconds)


SPEC = Attack(name="nobody", summary="nobody attacks: the figures to compare with", run=run)
