"""Every benchmark in turn: python -m benchmarks [NAME...]. 1 if one falls short of its bar."""

import importlib
import sys

NAMES = (
    "scrape",
    "hostile.web",
    "hostile.__main__",
    "cost",
    "serving_cost",
    "health_cost",
    "faults",
    "churn",
    "exactness",
    "windows",
    "attribution",
    "ledger_scale",
    "training",
    "prefill_decode",
    "energy_per_token",
    "dvfs_training",
    "dvfs_traces",
    "dvfs_claims",
    "dvfs_closed_loop",
    "dvfs_safety",
    "kills",
    "journal",
    "site_pue",
    "site_day",
    "site_polling",
    "report_meters",
    "report_scale",
    "fleet_scale",
)


def main(names: list[str]) -> int:
    """Run the named ones, or all."""
    unknown = [n for n in names if n not in NAMES]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    short = []
    for name in names or NAMES:
        print(f"\n== {name}", flush=True)
        if importlib.import_module(f"benchmarks.{name}").main([]):
            short.append(name)
    print(f"\n{'all bars held' if not short else 'fell short: ' + ', '.join(short)}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
