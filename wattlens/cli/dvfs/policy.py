"""`wattlens dvfs policy`: which policies there are, with their options."""

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions, print_json, print_table

if TYPE_CHECKING:
    from dvfs.types import DvfsPolicy, NodePolicy


def _configure(add: CommandOptions) -> None:
    add("policy NAME", "show only this policy", nargs="?")
    add("--json", "print JSON")


def _run(args: Namespace) -> int:
    import dvfs.policies as package
    from dvfs.knees import load
    from energy_agent.core import plugin

    policies: dict[str, DvfsPolicy | NodePolicy] = plugin.discover(package)
    if args.policy is not None and args.policy not in policies:
        raise UsageError(
            f"dvfs policy: expected one of {', '.join(policies)}, got {args.policy!r}; omit the name to list all policies"
        )
    knees = load()
    chosen = {args.policy: policies[args.policy]} if args.policy is not None else policies
    if args.json:
        document: dict[str, Any] = {
            "policies": {n: {"summary": s.summary, "options": dict(s.options)} for n, s in chosen.items()},
            "knees": [{"sku": k.sku, "knee_mhz": k.knee_mhz, "basis": k.basis, "source": k.source} for k in knees],
        }
        print_json(document)
        return 0
    for name, spec in chosen.items():
        print(f"{name}: {spec.summary}")
        for option, meaning in spec.options.items():
            print(f"    {option}: {meaning}")
    if args.policy is None:
        print()
        print_table([("SKU", "KNEE", "BASIS", "SOURCE"), *((k.sku, f"{k.knee_mhz} MHz", k.basis, k.source) for k in knees)])
    return 0


COMMAND = Command("list the policies with their options, and the knee table", _configure, _run)
