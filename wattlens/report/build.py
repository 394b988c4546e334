"""From a command's options to the facts of a report: the one place that reads everything a report is made of."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.countries import country_factor
from energy_agent.factors.join import of_factor
from energy_agent.factors.sets import OLD_YEARS, FactorMatch, catalogue, shipped
from energy_agent.ledger.chain import Progress
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.query.port import EngineOptions
from energy_agent.runtime.clock import RealClock
from reports.audit.difference import input_changes, restated_totals
from reports.audit.edition import edition, read_edition
from reports.audit.manifest import Argument, Manifest
from reports.figures.evidence import PeriodEvidence, PrometheusEnergy
from reports.figures.facts import ChangedInput, Facts, RestatedTotal, build_facts
from reports.figures.facts_json import facts_json
from reports.figures.gather import gather, gather_invoices
from reports.figures.measures import all_figures
from reports.figures.measures.history import without_reason
from reports.figures.wording import amount
from reports.frameworks.answers import datapoint_answers
from reports.inputs.organisation import LEAST_COVERAGE, Organisation, SiteInputs
from reports.ledger.days import DAY_NS, Day, find_days
from reports.ledger.reading import windows_of
from reports.ledger.scratch import SITE, compacted
from reports.ledger.store import USUAL
from reports.ledger.sums import SiteWindow
from reports.period import PeriodRequest, from_instants
from wattlens import __version__
from wattlens.report.inputs.codecarbon_tables import CodeCarbonTables
from wattlens.report.inputs.org import load_organisation

YEAR_NS = 366 * DAY_NS


@dataclass(frozen=True, slots=True)
class Options:
    """Options that decide the figures of a report.

    Args:
        ledger: folder or fsspec URL; "": none, so that the report is of invoices alone.
        asked: the requested period.
        org: the organisation's file; None: no inputs.
        country: ISO3 of the grid of sites whose inputs name none; "" if not given.
        as_of_ns: grid series are used as known at this time.
        accept_old: also use yearly factors that are more than five years older than the energy.
        pinned: statements of compacted days to use instead of the newest.
        edition: number of this edition, and the SHA-256 of the facts that it restates.
        restatement: totals that differ from those facts; see `restated`.
        restated_inputs: inputs that differ from those of that edition.
        reason: why it restates them, in words.
        earlier: number of earlier periods whose totals are listed.
        ask: queries a Prometheus for its data of the period; None: no query.
        checked: the response of a Prometheus when the report was first created.
        warn: called with each odd value of the inputs.
        tables: lookups in CodeCarbon's tables, which the report records.
        limits: threads and memory for reading the ledger; no figure depends on them.
    """

    ledger: str
    asked: PeriodRequest
    org: Path | None = None
    country: str = ""
    as_of_ns: int = 0
    accept_old: bool = False
    pinned: Mapping[tuple[str, str], int] | None = None
    edition: tuple[int, str | None] = (0, None)
    restatement: tuple[RestatedTotal, ...] = ()
    restated_inputs: tuple[ChangedInput, ...] = ()
    reason: str = ""
    earlier: int = 1
    ask: Callable[[Mapping[str, SiteWindow]], PrometheusEnergy] | None = None
    checked: PrometheusEnergy | None = None
    warn: Callable[[str], None] | None = None
    tables: CodeCarbonTables = field(default_factory=CodeCarbonTables)
    limits: EngineOptions = USUAL

    @property
    def command(self) -> dict[str, Argument]:
        """Themselves as the manifest keeps them, enough to make the facts again."""
        arguments: dict[str, Argument] = {
            "ledger": self.ledger,
            **self.asked.arguments,
            "org": None if self.org is None else self.org.name,
            "country": self.country or None,
            "as_of_ns": str(self.as_of_ns),
        }
        if self.accept_old:
            arguments["accept_old"] = True
        if self.reason:
            arguments["reason"] = self.reason
        if self.earlier != 1:
            arguments["earlier"] = str(self.earlier)
        if self.checked is not None:
            arguments["prometheus"] = json.dumps(asdict(self.checked), separators=(",", ":"))
        if self.tables.recorded:
            arguments["codecarbon"] = self.tables.recorded
        if self.restatement:
            arguments["restatement"] = json.dumps([asdict(row) for row in self.restatement], separators=(",", ":"))
        if self.restated_inputs:  # "/" is escaped, so that the manifest does not take a row for a URL and shorten it
            rows = (json.dumps([row.kind, row.name, row.change]) for row in self.restated_inputs)
            arguments["restated_inputs"] = tuple(row.replace("/", r"\/") for row in rows)
        return arguments


def build(options: Options, progress: Progress | None = None) -> Facts:
    """The facts.

    Raises:
        UsageError: a file or option is wrong.
        ChainError: the ledger is damaged, or a file of it is not what its manifest says.
        WattlensError: the ledger holds nothing of that time.
    """
    organisation = _organisation(options)
    if options.warn is not None:
        for warning in organisation.warnings:
            options.warn(warning)
    if not options.ledger:
        return _build_from_invoices(options, organisation)
    with compacted(options.ledger, organisation.stays(_default_site(organisation)), progress) as system:
        days = find_days(system, options.pinned)
        adjusted = organisation
        if options.country:  # of the sites that the period has, and not of one long gone
            windows = windows_of(days, organisation, options.asked)
            year = max(datetime.fromtimestamp(w.end_ns // NS_PER_S - 1, UTC).year for w in windows.values())
            adjusted = with_country(organisation, windows, options.country, year, accept_old=options.accept_old)
        evidence, used = gather(system, days, adjusted, options.asked, options.earlier, options.limits)
    if options.warn is not None and (mismatch := _unknown_sites(evidence, {day.site for day in days}, organisation)):
        options.warn(mismatch)
    refuse_metered(evidence)
    checked = options.checked if options.ask is None else options.ask(evidence.sums.windows)
    evidence = replace(evidence, prometheus=checked)
    return _completed(evidence, used, options)


def _unknown_sites(evidence: PeriodEvidence, recorded: Collection[str], organisation: Organisation) -> str:
    """Sites of the ledger that the inputs do not have, such as renamed ones, and sites of inputs without a ledger; "": none."""
    unknown = sorted((set(evidence.sites) & set(recorded)) - set(organisation.sites))
    if not unknown or not organisation.sites:
        return ""
    unused = [name for name, site in sorted(organisation.sites.items()) if name not in recorded and not site.supplied]
    text = (
        f"the ledger has site {', '.join(unknown)}, which the inputs do not have: no grid, PUE, contracts or cost apply to it"
    )
    return text + (f"; the inputs have {', '.join(unused)}, which the ledger does not have" if unused else "")


def _completed(evidence: PeriodEvidence, used: Sequence[Day], options: Options) -> Facts:
    """Return the facts of the days that were used, with their restatement and datapoints."""
    number, restates = options.edition
    facts = build_facts(evidence, all_figures(evidence), used, __version__, edition=number, restates=restates)
    _refuse_unexplained(facts)
    return replace(
        facts,
        restatement=options.restatement,
        restated_inputs=options.restated_inputs,
        restatement_reason=options.reason,
        datapoints=datapoint_answers(facts),
    )


def _refuse_unexplained(facts: Facts) -> None:
    """Check that each earlier total which the ledger no longer gives has a reason.

    Raises:
        UsageError: one has none; a line for each.
    """
    lines = []
    for reported, today in without_reason(facts.figures):
        then, now = (amount(f.value or 0, f.unit) for f in (reported, today))
        lines.append(
            f"reported {reported.dims['period']}: {reported.dims['figure']} was reported as {then}, and the ledger with "
            f"today's inputs gives {now}; state the cause in its key `reason` (sheet Reported)"
        )
    if lines:
        raise UsageError("\n".join(lines))


def refuse_metered(evidence: PeriodEvidence) -> None:
    """Check that no estimate is of a machine that the ledger meters at the same time: its energy would count twice.

    A run is compared by the name of its host, where it has one.

    Raises:
        UsageError: one is; a line per run.
    """
    faults = []
    for run in evidence.organisation.estimates:
        for device in evidence.sums.metered_devices:
            if device.node == run.host and run.host and device.first_ns < run.end_ns and device.last_ns > run.start_ns:
                faults.append(
                    f"estimates: run {run.id} ({run.source}, row {run.row}): its host {run.host} is metered by the ledger "
                    f"(site {device.site}) at that time, so its energy would count twice; remove the run"
                )
                break
    if faults:
        raise UsageError("\n".join(faults[:20]))


def _build_from_invoices(options: Options, organisation: Organisation) -> Facts:
    if options.country:
        year = datetime.fromtimestamp(options.as_of_ns // NS_PER_S, UTC).year
        organisation = with_country(organisation, organisation.sites, options.country, year, accept_old=options.accept_old)
    return _completed(gather_invoices(organisation, options.asked, options.earlier), (), options)


def add_prometheus_result(options: Options, facts: Facts) -> Options:
    """Return the options with the result of the Prometheus query, so that the facts can be rebuilt without it."""
    figure = facts.figures["crosscheck.prometheus"]
    if options.ask is None:
        return options
    result = PrometheusEnergy(figure.dims["joules"], int(figure.dims["series"]), figure.dims["query"], figure.reason or "")
    return replace(options, ask=None, checked=result)


def restated(options: Options, facts: Facts, earlier: Path) -> tuple[Options, Facts]:
    """Options and facts with the changes from an earlier edition, which the manifest keeps: the earlier one may be elsewhere.

    Raises:
        WattlensError: as `reports.audit.edition.read_edition`.
    """
    editions = read_edition(earlier), edition(facts_json(facts), "this report", command=options.command)
    totals, inputs = restated_totals(*editions), input_changes(*editions)
    return (
        replace(options, restatement=totals, restated_inputs=inputs),
        replace(facts, restatement=totals, restated_inputs=inputs),
    )


def rebuild(manifest: Manifest, ledger: str, org: Path | None, limits: EngineOptions = USUAL) -> bytes:
    """The facts of a report again, from its manifest: what `wattlens report verify` compares.

    Raises:
        UsageError: the organisation file is needed.
        WattlensError: the manifest has an invalid option, or the report cannot be rebuilt.
    """
    command = manifest.command

    def text(name: str) -> str | None:
        value = command.get(name)
        return None if value is None else str(value)

    def number(name: str, default: int, most: int) -> int:
        value = int(text(name) or default)
        if not 0 <= value <= most:
            raise ValueError(f"{name} {value} is not from 0 to {most}")
        return value

    if text("org") is not None and org is None:
        raise UsageError(f"the report was created with {text('org')}; select it with --org")
    pinned = {(day.site, day.day): day.statement for day in manifest.inputs.days.values()}
    rows = command.get("restated_inputs")
    restated_inputs = rows if isinstance(rows, tuple) else ()
    try:
        options = Options(
            ledger=ledger,
            asked=PeriodRequest.from_arguments(command),
            org=org,
            country=text("country") or "",
            as_of_ns=number("as_of_ns", 0, INT64_MAX),
            accept_old=command.get("accept_old") is True,
            pinned=pinned,
            edition=(manifest.edition, manifest.restates),
            restatement=tuple(RestatedTotal(**row) for row in json.loads(text("restatement") or "[]")),
            restated_inputs=tuple(ChangedInput(*json.loads(row)) for row in restated_inputs),
            reason=text("reason") or "",
            earlier=number("earlier", 1, 8),
            checked=_checked(text("prometheus")),
            tables=CodeCarbonTables(text("codecarbon") or ""),
            limits=limits,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise WattlensError(f"manifest.json: command: {error}; the file was changed, or another version wrote it") from None
    return facts_json(build(options))


def _checked(text: str | None) -> PrometheusEnergy | None:
    return None if text is None else PrometheusEnergy(**json.loads(text))


def with_country(
    organisation: Organisation, names: Iterable[str], country: str, year: int, *, accept_old: bool = False
) -> Organisation:
    """Return the organisation with a country's factor at every named site whose inputs name no grid.

    The factor is the direct one if a table has it, as Scope 2 requires; else CodeCarbon's life-cycle factor, outside Scope 2.

    Raises:
        UsageError: no table has the country, or only values that are too old.
    """
    grid_factor = country_factor(country)
    try:
        match = catalogue(accept_old=accept_old).factor("", year, Basis(EmissionBoundary.DIRECT), grid_factor.zone)
    except UsageError:
        if year - grid_factor.year > OLD_YEARS and not accept_old:
            raise UsageError(
                f"--country {grid_factor.zone}: the newest factor is of {grid_factor.year}, more than {OLD_YEARS} years "
                f"before {year}; omit --country, or accept it with --accept-old"
            ) from None
        digest = next(
            (s.csv_sha256 for s in shipped() for f in s.factors.values() if f.id == grid_factor.id), grid_factor.source_sha256
        )
        match = FactorMatch(grid_factor, digest)
    sites = dict(organisation.sites)
    for name in sorted(names):
        had = sites.get(name, SiteInputs(name, ZoneInfo("UTC")))
        if not (had.location or had.grid_zone or had.country):
            sites[name] = replace(
                had,
                location=(of_factor(match.factor, match.reasons),),
                location_lacking="",
                factors=(*had.factors, (match.factor, match.csv_sha256)),
                country=grid_factor.zone,
            )
    return replace(organisation, sites=sites)


def _organisation(options: Options) -> Organisation:
    if options.org is None:
        return Organisation(least_coverage=LEAST_COVERAGE)
    period = options.asked.period(ZoneInfo("UTC"))
    now_ns = options.as_of_ns or RealClock().utc_ns()
    start_ns, end_ns = period.start_ns or now_ns - YEAR_NS, period.end_ns or now_ns
    ends = start_ns - YEAR_NS, end_ns + DAY_NS
    return load_organisation(options.org, *ends, now_ns, accept_old=options.accept_old, tables=options.tables)


def _default_site(organisation: Organisation) -> str | None:
    """Return the site of devices that no inventory lists: the only site; None with several sites, which need an inventory."""
    names = sorted(organisation.sites)
    return names[0] if len(names) == 1 else None if names else SITE


def as_of(text: str | None) -> int:
    """The moment at which grid series were known: given, or now."""
    given = from_instants(text, None, "--as-of").start_ns
    return RealClock().utc_ns() if given is None else given
