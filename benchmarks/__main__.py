"""Run one benchmark, `python -m benchmarks NAME [OPTIONS]`, or every one in turn. 1 if one falls short of its bar."""

import sys

from benchmarks.runner import call

NAMES = (
    "scrape",
    "hostile.web",
    "hostile",
    "hostile.records",
    "cost",
    "exactness",
    "sensors",
    "attribution",
    "dvfs_claims",
    "dvfs_safety",
    "dvfs_node_budget",
    "fleet_scale",
)
OTHERS = (
    "dvfs_baselines",
    "vllm_plant",
    "quick_start",
    "sample_report",
)
"""No measurements with a bar: they run by name only."""


def main(words: list[str]) -> int:
    """Run the named one, or all."""
    if words and words[0] not in NAMES + OTHERS:
        print(f"no benchmark {words[0]!r}; there are: {', '.join(NAMES + OTHERS)}", file=sys.stderr)
        return 2
    if words:
        return call(words[0], words[1:])
    short = []
    for name in NAMES:
        print(f"\n== {name}", flush=True)
        if call(name, []):
            short.append(name)
    print(f"\n{'all bars held' if not short else 'fell short: ' + ', '.join(short)}")
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
