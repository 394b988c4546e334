"""`wattlens dvfs policy`: which policies there are, and one of them driven over JSON lines by anyone who wants to judge it."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, cast

from energy_agent.core.errors import UsageError
from wattlens.cli._command import print_table

if TYPE_CHECKING:
    from dvfs.types import DvfsPolicy, NodePolicy, Trials


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dvfs policy`."""
    parser.add_argument("policy", nargs="?", metavar="NAME", help="show only this policy")
    parser.add_argument(
        "--stdio",
        action="store_true",
        help="exchange JSON lines on stdin and stdout, to evaluate the policy on external data (docs/dvfs-plant.md)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List, or serve the protocol until stdin ends."""
    import dvfs.policies as package
    from dvfs.knees import load
    from energy_agent.core import plugin

    policies: dict[str, DvfsPolicy | NodePolicy] = plugin.discover(package)
    if args.policy is not None and args.policy not in policies:
        raise UsageError(f"dvfs policy: expected one of {', '.join(policies)}, got {args.policy!r}")
    if args.stdio:
        return _serve(args.policy, policies)
    knees = load()
    chosen = {args.policy: policies[args.policy]} if args.policy is not None else policies
    if args.json:
        document: dict[str, Any] = {
            "policies": {n: {"summary": s.summary, "options": dict(s.options)} for n, s in chosen.items()},
            "knees": [{"sku": k.sku, "knee_mhz": k.knee_mhz, "basis": k.basis, "source": k.source} for k in knees],
        }
        print(json.dumps(document, indent=2))
        return 0
    for name, spec in chosen.items():
        print(f"{name}: {spec.summary}")
        for option, meaning in spec.options.items():
            print(f"    {option}: {meaning}")
    if args.policy is None:
        print()
        print_table([("SKU", "KNEE", "BASIS", "SOURCE"), *((k.sku, f"{k.knee_mhz} MHz", k.basis, k.source) for k in knees)])
    return 0


def _serve(name: str | None, policies: "dict[str, DvfsPolicy | NodePolicy]") -> int:
    """Serve the protocol of the first line: an SLO makes it that of a server, otherwise it is that of a training job."""
    from dvfs.replay.stdio import serving, training
    from dvfs.replay.stdio.lines import JsonLines, read_lines

    spec = policies.get(name or "")
    trials, serves = getattr(spec, "trials", None), getattr(spec, "serves", False)
    if trials is None and not serves:
        able = [each for each, one in policies.items() if getattr(one, "trials", None) or getattr(one, "serves", False)]
        raise UsageError(f"dvfs policy: --stdio: expected one of {', '.join(able)}, got {name or 'no name'}")
    if sys.stdin is None or sys.stdout is None:  # as with `<&-`
        raise UsageError("dvfs policy: --stdio: stdin or stdout is closed")
    lines = JsonLines(read_lines(sys.stdin.buffer))
    first = lines.peek()
    has_slo = first is not None and '"slo"' in _text(first)
    if has_slo and not serves:
        able = [each for each, one in policies.items() if getattr(one, "serves", False)]
        raise UsageError(f"dvfs policy: {name} steers training jobs, which have no slo; expected one of {', '.join(able)}")
    if not serves or (trials is not None and not has_slo):
        training.serve(cast("Trials", trials), lines, lambda line: print(line, flush=True))
        return 0
    for line in serving.replies(cast("DvfsPolicy", spec), lines):
        print(line, flush=True)
    return 0


def _text(line: str | bytes) -> str:
    return line if isinstance(line, str) else line.decode(errors="replace")
