"""`wattlens pue`: a site's PUE over a window, with its error, and where the overhead goes."""

import time
from argparse import Namespace
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions, print_json, print_lines
from wattlens.cli._options import add_period, moment_text, share

if TYPE_CHECKING:
    from wattlens.site.pue.inputs import PueInputs
    from wattlens.site.pue.statement import PueStatement

YEAR_DAYS = 365


def _configure(add: CommandOptions) -> None:
    add("--ledger DIR", "the site's state folder, its segments, or compacted days (default: the state folder of wattlens site)")
    add("--site NAME", "name of the site; required if the ledger has several")
    add("--quarter 2026Q3", "calendar quarter in the site's time zone")
    add_period(add, moment_text)
    add("--trailing", "twelve months up to the last complete UTC day")
    add("--position", "use only IT meters at this position", choices=("ups_output", "pdu_output", "it_input"))
    add("--zone NAME", "compute the partial PUE of a room or a cooling loop", default="")
    add("--config FILE", "the site's YAML file, with its time zone, stated PUE, water, grid and contracts")
    add("--time-zone NAME", "IANA name of the time zone (default: from --config, else UTC)")
    add("--nodes DIR", "ledgers of the site's nodes, which give the IT energy for an estimate without meters")
    add(
        "--as-of TIME",
        "use grid intensities as published at this time, without later revisions (default: now)",
        type=moment_text,
    )
    add("--accept-coverage SHARE", "share of the period that must be metered (default 90%%)", type=share(), default="90%")
    add("--accept-old", "also use yearly emission factors that are more than five years older than the energy")
    add("--json", "print JSON with every meter and gap")


def _run(args: Namespace) -> int:
    from wattlens.site.pue.inputs import read_inputs
    from wattlens.site.pue.statement import as_json
    from wattlens.site.pue.text import format_statement

    given = read_inputs(args.ledger, args.site, args.config, args.nodes)
    zone = _zone(args.time_zone or given.time_zone)
    pue_statement = _statement(args, given, zone)
    if args.json:
        print_json(as_json(pue_statement), 1)
    else:
        print_lines(format_statement(pue_statement, zone))
    return 0 if pue_statement.main.amount.value is not None else 1


def _statement(args: Namespace, given: "PueInputs", zone: tzinfo) -> "PueStatement":
    from energy_agent.core.meters.facility import Position
    from energy_agent.site.building.gaps import with_fills
    from energy_agent.site.building.tree import refuse_unsound
    from reports.period import from_instants
    from wattlens.site.pue.statement import statement

    start_ns, end_ns = _window(args, given.span_ns, zone)
    named = args.quarter or args.trailing
    since_ns = 0 if named or args.start else given.book.first_ns or 0
    # A window that is not over ends where the ledger does: nobody has metered what is to come.
    open_end = end_ns > max(time.time_ns(), given.book.until_ns or 0)
    until_ns = given.book.until_ns if open_end or not (named or args.end) else None
    read = given.book.window(start_ns, end_ns, since_ns=since_ns, until_ns=until_ns)
    try:
        refuse_unsound([each.facts for each in read.values()])
    except ValueError as error:
        raise UsageError(f"the meters of site {given.site} in this ledger: {error}") from None
    fills = given.fills(read, start_ns, end_ns)
    meters = with_fills(read, fills, (start_ns, end_ns))
    start_ns, end_ns = max(start_ns, since_ns), min(end_ns, until_ns or end_ns)
    position = Position(args.position) if args.position else None
    pue_statement = statement(
        given.site, (start_ns, end_ns), meters, given.around(start_ns, end_ns),
        position=position, zone=args.zone, least=args.accept_coverage, simulated=given.simulated,
    )  # fmt: skip
    as_of_ns = from_instants(args.as_of, None, "--as-of").start_ns or time.time_ns()
    return given.with_others(pue_statement, fills, as_of_ns, accept_old=args.accept_old)


def _window(args: Namespace, span: tuple[int, int] | None, zone: tzinfo) -> tuple[int, int]:
    from energy_agent.site.building.pue import DAY_NS
    from reports.period import from_instants, from_quarter, utc_text

    if sum(bool(each) for each in (args.quarter, args.start or args.end, args.trailing)) > 1:
        raise UsageError("expected at most one of --quarter, --from with --to, and --trailing")
    if args.quarter:
        period = from_quarter(args.quarter, zone)
        start_ns, end_ns = period.start_ns, period.end_ns
    else:
        period = from_instants(args.start, args.end)
        if span is None and (period.start_ns is None or period.end_ns is None):
            raise UsageError("the ledger has no reading of this site yet: select a period with --from and --to")
        span_ns = span or (0, 0)
        start_ns = span_ns[0] if period.start_ns is None else period.start_ns
        end_ns = span_ns[1] if period.end_ns is None else period.end_ns
    if args.trailing:
        end_ns = (span or (0, time.time_ns()))[1] // DAY_NS * DAY_NS
        start_ns = end_ns - YEAR_DAYS * DAY_NS
    assert start_ns is not None
    assert end_ns is not None
    if end_ns <= start_ns:
        raise UsageError(
            f"the period is empty; the ledger has readings from {utc_text((span or (0, 0))[0])} to "
            f"{utc_text((span or (0, 0))[1])}"
        )
    return start_ns, end_ns


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"--time-zone: expected an IANA name such as Europe/Berlin, got {name[:80]!r}") from None


SPEC = Command("compute a site's PUE for a period, with uncertainty and an overhead breakdown", _configure, _run)
