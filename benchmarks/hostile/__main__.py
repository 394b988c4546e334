"""Run attacks against a real agent, one after another, each against an agent of its own.

Run from the repository's root: python -m benchmarks.hostile [NAME...] [--seconds 20] [--json]; --list names the attacks.
Exit code 1 if an attack changed what it may not change; `benchmarks/hostile/rig.py` lists that.
"""

import argparse
import importlib
import json
import os
import pkgutil
import sys
from dataclasses import asdict

import benchmarks.hostile
from benchmarks.hostile.rig import Attack, Outcome, measure


def find_attacks() -> dict[str, Attack]:
    """Every attack of this package by its name."""
    names = (module.name for module in pkgutil.iter_modules(benchmarks.hostile.__path__))
    modules = [importlib.import_module(f"benchmarks.hostile.{name}") for name in names if name != "__main__"]
    specs = [module.SPEC for module in modules if hasattr(module, "SPEC")]
    return {spec.name: spec for spec in specs}


def main(argv: list[str] | None = None) -> int:
    """Print one block per attack; 1 if one succeeded."""
    attacks = find_attacks()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="attacks to run (default: all)")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each attack")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the attacks and exit")
    arguments = parser.parse_args(argv)
    if arguments.list:
        for attack in attacks.values():
            print(f"{attack.name:24} {attack.summary}")
        return 0
    if unknown := set(arguments.names) - attacks.keys():
        parser.error(f"unknown attack {min(unknown)!r}; there are: {', '.join(attacks)}")
    failed = False
    for name in arguments.names or attacks:
        if attacks[name].needs_root and os.geteuid() != 0:
            print(f"{name}: skipped, needs root", file=sys.stderr)
            continue
        outcome = measure(attacks[name], arguments.seconds)
        failed |= not outcome.ok
        print(json.dumps(asdict(outcome) | {"ok": outcome.ok}) if arguments.json else describe(outcome), flush=True)
    return int(failed)


def describe(outcome: Outcome) -> str:
    """Outcome as text for a terminal."""
    lines = [
        f"{outcome.attack}: {'ok' if outcome.ok else 'FAILED'} ({outcome.seconds:g} s)",
        f"  memory peak {outcome.memory_peak_b / (1 << 20):.0f} MiB, killed for memory {outcome.memory_kills} times",
        f"  scrapes {outcome.scrapes}, failed {outcome.failed_scrapes}, "
        f"p95 {outcome.scrape_p95_ms} ms, worst {outcome.scrape_worst_ms} ms",
        f"  recorded {outcome.recorded_uj} µJ, minus driver counters {outcome.counter_difference_uj} µJ",
        f"  worst workload error {outcome.workload_error:.2%}, unattributed {outcome.unattributed:.2%}",
    ]
    lines += [f"  {name}: {value}" for name, value in outcome.figures.items()]
    lines += [f"  broken: {law}" for law in outcome.violations]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
