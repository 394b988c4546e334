"""Attacks by neighbours on a real agent, one after another, each against a new agent.

Run from the repository's root: python -m benchmarks hostile [NAME...] [--seconds 20]

An attack that violates an invariant in `benchmarks/hostile/rig.py` fails the run.
"""

import os
from collections.abc import Iterator
from importlib import import_module

from benchmarks.runner import Row, say
from energy_agent.core.errors import UsageError


def run(*names: str, seconds: float = 20.0) -> Iterator[Row]:
    """A row per attack; each lasts `seconds`."""
    for module in ("neighbours", "sockets", "steering", "tokens"):
        import_module(f"benchmarks.hostile.{module}")
    rig = import_module("benchmarks.hostile.rig")
    if unknown := set(names) - rig.ATTACKS.keys():
        raise UsageError(f"unknown attack {min(unknown)!r}; there are: {', '.join(rig.ATTACKS)}")
    for name in names or rig.ATTACKS:
        if rig.ATTACKS[name].needs_root and os.geteuid() != 0:
            say(f"{name}: skipped, needs root")
        else:
            say(name)
            yield rig.measure(rig.ATTACKS[name], seconds)
