"""Attacks on the records and doors: ledgers, shared folders, reports, Slurm jobs and proxies; in turn, for a given time.

Run from the repository's root: python -m benchmarks hostile.records [--minutes 60] [--seed 1]

Each row is one attack: how often it was tried with other random choices, and what fell, of which there is to be nothing.
"""

import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmarks.hostile import chains, forgeries, proxies, scheduler, share, statements
from benchmarks.runner import Row, say

_TURN_S = 30.0


def run(minutes: float = 60.0, seed: int = 1) -> Iterator[Row]:
    """A row per attack."""
    end = time.monotonic() + 60 * minutes
    programs = [chains, forgeries, statements, scheduler, proxies, *([share] if os.geteuid() == 0 else [])]
    if share not in programs:
        say("ledger ship: skipped, needs root")
    tried, fallen = Counter[tuple[str, str]](), defaultdict[tuple[str, str], list[str]](list)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        base.chmod(0o755)
        going = []
        for number, program in enumerate(programs):
            place = base / str(number)
            place.mkdir()
            going.append((program.__name__.rpartition(".")[2], program.run(Random(seed + number), place)))
        while time.monotonic() < end:
            for name, attacks in going:
                turn = min(end, time.monotonic() + _TURN_S)
                for attack, fell in attacks:
                    tried[name, attack] += 1
                    if fell:
                        fallen[name, attack].append(fell)
                        say(f"{name}, {attack}: {fell}")
                    if time.monotonic() > turn:
                        break
    for (name, attack), count in tried.items():
        fell = fallen[name, attack]
        yield {"program": name, "attack": attack, "tried": count, "fell": len(fell), "ok": not fell}
