"""`wattlens report init`: the workbook of inputs; `wattlens report check`: the content of an input file and what it lacks."""

from argparse import Namespace
from pathlib import Path

from energy_agent.core.errors import UsageError, WattlensError
from wattlens.cli._command import Command, CommandOptions, print_check, print_json
from wattlens.cli._options import write_new

ACCEPT_OLD = "also use yearly emission factors that are more than five years older than the energy"


def _configure(add: CommandOptions) -> None:
    add("--out FILE", "the workbook (default org.xlsx)", default=Path("org.xlsx"))
    add("--force", "overwrite an existing file")
    sources = add.exclusive()
    sources("--from-inventory CSV", "fill in the GPUs and sites of this inventory")
    sources("--ledger DIR", "fill in the GPUs of this ledger")
    add("--json", "print path and number of GPUs as JSON")


def _run(args: Namespace) -> int:
    """Write the workbook and say what to do with it."""
    from wattlens.report.inputs.known import of_inventory, of_ledger
    from wattlens.report.inputs.workbook.template import template

    path: Path = args.out
    if path.suffix.lower() != ".xlsx":
        raise UsageError(
            f"--out: expected a name that ends in .xlsx, got {path}; org.yaml is written by hand (docs/report-inputs.md)"
        )
    boards = of_inventory(args.from_inventory) if args.from_inventory else of_ledger(args.ledger) if args.ledger else []
    content = template(boards)
    write_new(path, content, force=args.force)
    if args.json:
        print_json({"file": str(path), "boards": len(boards)}, 1)
        return 0
    what = f" with {len(boards):,} GPUs" if boards else ""
    print(f"{path}: workbook to fill in{what}; its first sheet explains how. Next: wattlens report check {path}")
    return 0


def _configure_check(add: CommandOptions) -> None:
    add("file ORG", "org.yaml, or a workbook that `report init` wrote", type=Path)
    add("--accept-old", ACCEPT_OLD)
    add("--json", "print JSON")


def _run_check(args: Namespace) -> int:
    """Read the file with all that it names, for the last twelve months, and say what there is."""
    from energy_agent.core.text import printable
    from energy_agent.core.units import NS_PER_S
    from energy_agent.runtime.clock import RealClock
    from wattlens.report.inputs.org import load_organisation
    from wattlens.report.inputs.text import as_json

    now_ns = RealClock().utc_ns()
    try:
        organisation = load_organisation(
            args.file, now_ns - 366 * 86_400 * NS_PER_S, now_ns, now_ns, accept_old=args.accept_old
        )
    except WattlensError as error:
        if not args.json:
            raise
        print_check(args.file, str(error).splitlines())
        return error.exit_code
    if args.json:
        print_check(args.file, [], **as_json(organisation))
        return 0
    from wattlens.report.inputs.text import list_inputs

    print(f"{args.file}: OK; inputs of the last twelve months:")
    site = ""
    for each in list_inputs(organisation):
        if each.of != site:
            site = each.of
            print(f"\nsite {site}")
        print(f"  {each.what:<20} {each.content or f'none: {each.missing}'}")
    if organisation.warnings:
        print("\nwarnings")
    for warning in organisation.warnings:
        print(f"  {printable(warning)}")
    return 0


COMMAND = Command("write a workbook for inputs that are not measured: sites, contracts, prices, teams", _configure, _run)
CHECK = Command("check an input file for wrong keys or cells, and list missing inputs", _configure_check, _run_check)
