"""`python -m benchmarks` lists the claims, with command and last result; `NAME [OPTIONS]` runs one, `all` each with a bar.

Exit code 1: a benchmark fell short of its bar.
"""

import os
import sys
from pathlib import Path

from benchmarks.runner import call

README = Path(__file__).with_name("README.md")
NAMES = (
    "scrape", "hostile.web", "hostile", "hostile.records", "cost", "exactness", "sensors", "attribution", "dvfs_claims",
    "dvfs_safety", "dvfs_node_budget", "fleet_scale",
)  # fmt: skip
OTHERS = ("dvfs_baselines", "vllm_plant", "quick_start", "sample_report")
"""They have no bar, or need data or a cluster: they run by name only."""


def claims() -> list[tuple[str, str, str]]:
    """(claim, command, last result) of each row of the table in README.md."""
    lines = README.read_text().partition("| claim | command | last result |\n")[2].partition("\n\n")[0].splitlines()[1:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [(claim, command.strip("`"), result) for claim, command, result in rows]


def main(words: list[str]) -> int:
    """List the claims, or run one or all."""
    if not words or words[0] in ("-h", "--help"):
        print("Each claim of the documentation, the command that measures it, and its last result.\n")
        for claim, command, result in claims():
            print(f"{claim}\n    python -m benchmarks {command}\n    {result}\n")
        print("`python -m benchmarks all` runs those that have a bar (hours). Conditions: benchmarks/README.md.")
        return 0
    if words == ["all"]:
        return _run_all()
    if words[0] not in NAMES + OTHERS:
        print(f"no benchmark {words[0]!r}; there are: {', '.join(NAMES + OTHERS)}", file=sys.stderr)
        return 2
    return call(words[0], words[1:])


def _run_all() -> int:
    short = []
    for name in NAMES:
        print(f"\n== {name}", flush=True)
        if call(name, []):
            short.append(name)
    print(f"\n{'all bars held' if not short else 'fell short: ' + ', '.join(short)}")
    return int(bool(short))


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `python -m benchmarks | head`; Python would write the rest once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
