"""`wattlens report`: a period's energy and emissions, from the ledger, in every form; and what surrounds it."""

import sys
from argparse import Namespace
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import printable
from wattlens.cli._command import Command, CommandOptions, print_json, print_lines
from wattlens.cli._options import add_period, add_store_limits, moment_text, share
from wattlens.cli.report import diff, estimates, init, sample, verify
from wattlens.terminal_line import count_progress

if TYPE_CHECKING:
    from reports.figures.facts import Facts
    from reports.period import PeriodRequest


def _configure(add: CommandOptions) -> None:
    source = add.group("Inputs")
    source("--ledger URL", "compacted days on any fsspec URL, a folder of segments, or a state folder")
    for flag, name, text in (
        ("--month", "2026-07", "calendar month"),
        (
            "--quarter",
            "2026Q3",
            "calendar quarter in the time zone of each site; last: the latest complete one, current: the one in progress "
            "(also for a month or a year)",
        ),
        ("--year", "2026", "calendar year"),
        ("--fiscal-year", "2026", "fiscal year by the calendar year in which it ends"),
        ("--fiscal-quarter", "2026Q2", "quarter of a fiscal year"),
        ("--period", "FY2026Q2", "period as a report names it: 2026-07, 2026Q3, 2026, FY2026 or FY2026Q2"),
    ):
        source(f"{flag} {name}", text)
    source(
        "--first-month 1..12",
        "first month of the fiscal year, such as 4 (default: fiscal_year_start of --org)",
        type=int,
        choices=range(1, 13),
    )
    add_period(source, moment_text)
    source("--org FILE", "org.yaml, or the workbook of `report init`: sites, contracts, teams")
    source(
        "--country ISO3",
        "default country of the grid, such as GBR: its direct emission factor if a table has one, otherwise "
        "CodeCarbon's life-cycle factor, which is not a Scope 2 factor",
    )
    source("--as-of TIME", "use grid intensities as published at this time (default: now)", type=moment_text)
    source("--accept-old", init.ACCEPT_OLD)
    source(
        "--earlier N",
        "number of earlier periods whose totals are listed, 1 to 8 (default 1); takes longer with each",
        type=int,
        choices=range(1, 9),
        default=1,
    )
    source("--restates DIR", "earlier edition that this report restates; requires --reason")
    source("--reason TEXT", "why it is restated; printed in the report")
    source("--accept-coverage SHARE", "lower the required share of metered time for this report, such as 80%%", type=share())
    source("--prometheus URL", "compare the ledger with the agents' counters in this Prometheus")
    source("--prometheus-token-file FILE", "bearer token of that Prometheus")
    source("--prometheus-ca-file FILE", "CA certificates of that Prometheus")
    add_store_limits(source)
    output = add.group("Output")
    output(
        "--out DIR",
        "output folder, created if missing (default: report, or report- and the name of the period); must not be that of "
        "the ledger or of another final report; {period} or {quarter} is replaced by the name of the period",
    )
    output(
        "--formats LIST",
        "output forms in addition to facts.json (default: %(default)s); also: boamps, focus",
        default="html,pdf,xlsx,csv,emissions",
    )
    output("--language NAME", "en or zh (default en)", default="en")
    output("--paper", "paper size of the PDF (default a4)", default="a4", choices=("a4", "letter"))
    output("--font-dir DIR", "folder with fonts for other scripts; may be repeated", action="append", default=[])
    output("--sign-key FILE", "Ed25519 private key (PEM) that signs the manifest")
    output("--sign-passphrase-file FILE", "file with the key's passphrase")
    add("--json", "print paths and headline figures as JSON")


def _verify(parsed: Namespace) -> int:
    from energy_agent.query.port import EngineOptions
    from reports.audit.ledger import changed_files
    from reports.reproduce import drawn_again
    from wattlens import __version__
    from wattlens.report.build import rebuild

    draw = partial(drawn_again, program=f"wattlens {__version__}", font_dirs=parsed.font_dir)
    return verify.run(
        parsed, partial(rebuild, limits=EngineOptions(parsed.threads, parsed.memory, parsed.engine)), changed_files, draw
    )


def _create(parsed: Namespace) -> int:
    from reports.compose import period_marks, too_little
    from reports.figures.wording import percent
    from reports.language import say_in
    from reports.publish import publish, refuse_occupied, refuse_overwriting
    from wattlens.report.build import add_prometheus_result, build, restated

    if parsed.ledger is None and parsed.org is None:
        raise UsageError("missing --ledger (or --org with invoices); see wattlens report --help")
    if find_spec("duckdb") is None:
        raise UsageError(f"the report needs the extra `reports`; {install_hint('reports')}")
    say, forms = say_in(parsed.language), _forms(parsed.formats)
    for path in (parsed.sign_key, parsed.sign_passphrase_file):
        if path is not None and not path.is_file():
            raise UsageError(f"{path}: no such file")
    options = _options(parsed)
    folder = _folder(parsed.out, options.asked)
    refuse_occupied(folder)
    if options.ledger or parsed.restates is not None:
        refuse_overwriting(folder, options.ledger, parsed.restates)
    facts = build(options, count_progress("read"))
    options = add_prometheus_result(options, facts)
    if parsed.restates is not None:
        options, facts = restated(options, facts, parsed.restates)
    kind = options.asked.kind
    if facts.status == "interim" and kind is not None and (getattr(parsed, kind.name) or "").lower() == "last":
        raise WattlensError(
            f"the ledger ends before the end of {facts.label}, so no report was created: compact its last days, or create "
            f"an interim report with {kind.flag} {options.asked.name}"
        )
    share = facts.figures["coverage"].value
    if too_little(facts) and (parsed.accept_coverage is None or (share or 0) < parsed.accept_coverage):
        coverage_text = percent(share) if share is not None else "unknown"
        advice = f"{_begins_later(facts)}check the unmetered nodes with wattlens doctor"
        if facts.invoices_alone:
            reasons = "; ".join(f"{site}: {reason}" for site, reason in facts.sites_without_energy.items())
            advice = (
                f"{reasons}; add the missing invoices, or meter readings of the first day and of the day after the last one, "
                "or create the report of a period that begins and ends with invoices"
            )
        raise WattlensError(
            f"coverage is {coverage_text}, expected at least {percent(facts.least_coverage)}: no report was created; {advice}, "
            "or accept the coverage with --accept-coverage SHARE; the report then shows it on page one"
        )
    paths = publish(
        facts, folder, say, forms=forms, paper=parsed.paper, font_dirs=parsed.font_dir,
        command=options.command, sign_key=parsed.sign_key, passphrase=parsed.sign_passphrase_file,
    )  # fmt: skip
    headline = _headline(facts)
    if parsed.json:
        document = {
            "files": {k: str(p) for k, p in paths.items()},
            "status": facts.status,
            "edition": facts.edition + 1,
            "headline": headline,
        }
        print_json(document)
        return 0
    print_lines(period_marks(facts, say_in("en")))
    print_lines((line["text"] or "").replace("\u202f", " ") for line in headline.values())
    print_lines(map(str, paths.values()))
    return 0


def _options(parsed: Namespace) -> Any:
    from energy_agent.query.port import EngineOptions
    from energy_agent.runtime.clock import RealClock
    from reports.audit.edition import edition_of
    from wattlens.report.build import Options, as_of

    asked = _period(parsed).resolved(RealClock().utc_ns())
    if (parsed.restates is None) != (not (parsed.reason or "").strip()):
        raise UsageError("--restates and --reason: a restatement requires a written reason, and a reason an earlier edition")
    edition: tuple[int, str | None] = (0, None)
    if parsed.restates is not None:
        number, digest = edition_of(parsed.restates, label=asked.label or None)
        edition = (number + 1, digest)
    return Options(
        ledger=parsed.ledger or "",
        asked=asked,
        org=parsed.org,
        country=parsed.country or "",
        as_of_ns=as_of(parsed.as_of),
        accept_old=parsed.accept_old,
        edition=edition,
        reason=(parsed.reason or "").strip()[:2000],
        earlier=parsed.earlier,
        limits=EngineOptions(parsed.threads, parsed.memory, parsed.engine),
        ask=_prometheus(parsed),
        warn=lambda line: print(printable(f"warning: {line}"), file=sys.stderr),
    )


def _period(parsed: Namespace) -> "PeriodRequest":
    from reports.period import KINDS, PeriodRequest, named_period

    given = [kind.flag for kind in KINDS if getattr(parsed, kind.name)] + (["--period"] if parsed.period else [])
    if len(given) > 1:
        raise UsageError(f"{given[0]}: cannot be combined with {given[1]}")
    if given and (parsed.start or parsed.end):
        raise UsageError(f"{given[0]}: cannot be combined with --from or --to")
    if parsed.period:
        request = named_period(parsed.period)
    else:
        year, quarter = ((name or "").removeprefix("FY") or None for name in (parsed.fiscal_year, parsed.fiscal_quarter))
        request = PeriodRequest(
            parsed.quarter, parsed.start, parsed.end, parsed.month, parsed.year, year, fiscal_quarter=quarter
        )
    if not request.is_fiscal:
        if parsed.first_month:
            raise UsageError("--first-month: requires --fiscal-year, --fiscal-quarter or a --period such as FY2026Q2")
        return request
    return replace(request, first_month=_first_month(parsed, given[0]))


def _first_month(parsed: Namespace, flag: str) -> int:
    """The first month of the fiscal year, by its option or the organisation's file."""
    from wattlens.report.inputs.org import fiscal_year_start

    stated = None if parsed.org is None else fiscal_year_start(parsed.org)
    if None not in (stated, parsed.first_month) and stated != parsed.first_month:
        raise UsageError(f"--first-month {parsed.first_month}: {parsed.org} states fiscal_year_start {stated}")
    month = parsed.first_month or stated
    if month is None:
        raise UsageError(f"{flag}: requires fiscal_year_start in --org (sheet Organisation), or --first-month")
    return int(month)


def _begins_later(facts: "Facts") -> str:
    """The first day with readings, if the period begins on an earlier day; "": it does not."""
    days = [day for id_, chart in facts.series.items() if id_.startswith("energy.daily.active/") for day in chart.points]
    first = min(days, default="")
    if not first or any(site.start[:10] >= first for site in facts.sites.values()):
        return ""
    return f"the ledger's first reading in the period is of {first}, from which --from {first} reports; else "


def _folder(out: Path | None, asked: "PeriodRequest") -> Path:

    if out is None:
        return Path(f"report-{asked.label}" if asked.label else "report")
    placeholder = next((name for name in ("{quarter}", "{period}") if name in str(out)), None)
    if placeholder is None:
        return out
    if not asked.label:
        raise UsageError(f"--out {out}: {placeholder} requires a named period such as --quarter 2026Q3")
    return Path(str(out).replace(placeholder, asked.label))


def _prometheus(parsed: Namespace) -> Any:
    """The query of a Prometheus for comparison; None without --prometheus."""
    if parsed.prometheus is None:
        return None
    from wattlens.prometheus.access import PrometheusAccess
    from wattlens.report.prometheus_check import check

    access = PrometheusAccess(parsed.prometheus, ca_file=parsed.prometheus_ca_file, token_file=parsed.prometheus_token_file)
    return partial(check, access, report_failure=lambda line: print(f"--prometheus: {line}", file=sys.stderr))


def _forms(text: str) -> tuple[str, ...]:
    from reports.publish import FORMS

    wanted = tuple(name.strip() for name in text.split(",") if name.strip() and name.strip() not in ("json", "facts"))
    if wrong := [name for name in wanted if name not in FORMS]:
        raise UsageError(
            f"--formats: expected one or more of {', '.join(FORMS)}, got {wrong[0][:40]}; facts.json is always written"
        )
    return wanted


def _headline(facts: "Facts") -> dict[str, dict[str, str | None]]:
    """The figures of the report's first section, by their label."""
    from reports.figures.figure import plain
    from reports.language import say_in
    from reports.page.sections import headline

    figures: dict[str, dict[str, str | None]] = {}
    for tile in headline.tiles(facts, say_in("en")):
        figure = facts.figures.get(tile.figure_id)
        entry: dict[str, str | None] = {
            "text": f"{tile.label + ':':<24} {tile.value}  ({tile.detail})",
            "figure": tile.figure_id,
        }
        if figure:
            numbers = {"value": figure.value, "low": figure.low, "high": figure.high}
            entry |= {name: None if n is None else plain(n) for name, n in numbers.items()} | {"unit": figure.unit}
        figures[tile.label] = entry
    return figures


SPEC = Command(
    "create, check, verify and compare energy and emissions reports of a month, quarter or year",
    _configure,
    _create,
    {
        "init": init.COMMAND,
        "check": init.CHECK,
        "verify": Command(verify.SUMMARY, verify.configure, _verify),
        "import": estimates.COMMAND,
        "sample": sample.COMMAND,
        "diff": diff.COMMAND,
    },
    without="default: create a report",
)
