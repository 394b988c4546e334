"""Gather the evidence of a report and of its comparison periods from a ledger and the organisation's inputs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from energy_agent.ledger.facility import FacilityBook
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.query.port import EngineOptions
from energy_agent.site.building.pue import YEAR_NS
from reports.figures.evidence import NO_LEDGER, ComparedPeriod, PeriodEvidence, SiteEvidence
from reports.inputs.organisation import Organisation
from reports.ledger.days import DAY_NS, Day, DayStorage, EmptyPeriodError, verify_files
from reports.ledger.reading import days_in, invoiced_span, invoiced_window, is_awaited, read_priced, read_sums, windows_of
from reports.ledger.savings import days_of, read_savings, savings_period
from reports.ledger.store import METER_ROWS, METER_SUMS, PROOF, USUAL, DayDatabase, kind_file, open_store
from reports.ledger.sums import LedgerSums, SiteWindow
from reports.period import PeriodRequest
from reports.site.building import building
from reports.site.grid import grid, times
from reports.site.invoices import from_invoices, site_invoices
from reports.site.meters import read_books

_READ = ("holder_day", "span_day", "workload_cell", "tokens", "steps", "gap", "action", "workload", "device")


def gather(
    system: DayStorage,
    days: Sequence[Day],
    organisation: Organisation,
    request: PeriodRequest,
    earlier: int = 1,
    limits: EngineOptions = USUAL,
) -> tuple[PeriodEvidence, list[Day]]:
    """Return the evidence of the requested period, and the days that it uses.

    Args:
        system: storage of the days.
        days: all days of the ledger.
        organisation: its inputs.
        request: the period.
        earlier: number of earlier periods whose totals are listed.
        limits: threads and memory for reading the ledger.

    Raises:
        ChainError: a file does not match its day's manifest.
        EmptyPeriodError: the ledger has no data of that period.
    """
    windows = windows_of(days, organisation, request)
    evidence, used = _of_period(system, days, organisation, request, windows, limits)
    used = _with_witness(used, days, windows)
    cache: dict[str, PeriodEvidence | None] = {}

    def compare(asked: PeriodRequest | None) -> PeriodEvidence | None:
        nonlocal used
        if asked is None:
            return None
        if asked.label not in cache:
            try:
                windows_then = windows_of(days, organisation, asked)
                period_evidence, its_days = _of_period(system, days, organisation, asked, windows_then, limits, compared=True)
            except EmptyPeriodError:
                cache[asked.label] = None  # the ledger does not reach so far back, which the comparison says
            else:
                cache[asked.label] = period_evidence
                used = [*used, *_unused_days(its_days, used)]
        return cache[asked.label]

    before, year_ago = map(compare, _earlier(request))
    compared = tuple(ComparedPeriod(each.label, role, compare(each)) for each, role in _listed(organisation, request, earlier))
    evidence = replace(evidence, before=before, year_ago=year_ago, compared=compared)
    return evidence, sorted(used, key=lambda d: (d.site, d.start_ns))


def _earlier(request: PeriodRequest) -> tuple[PeriodRequest | None, PeriodRequest | None]:
    """Return the period before this one, and the same one of the year before."""
    kind = request.kind
    same = None if kind is None or kind.per_year == 1 else request.before(kind.per_year)
    return request.before(1), same


def _listed(organisation: Organisation, request: PeriodRequest, earlier: int) -> list[tuple[PeriodRequest, str]]:
    """Return the periods whose totals are listed, with their role: the last `earlier` ones and the base year."""
    listed = [(each, "earlier") for n in range(1, earlier + 1) if (each := request.before(n)) is not None]
    base_year = organisation.statement.base_year
    base = None if base_year is None else request.in_year(base_year)
    if base is not None and base.label != request.label:
        listed = [pair for pair in listed if pair[0].label != base.label] + [(base, "base")]
    return listed


def gather_invoices(organisation: Organisation, request: PeriodRequest, earlier: int = 1) -> PeriodEvidence:
    """Return the evidence of a period without a ledger: the sites that have invoices of it.

    Args:
        organisation: its inputs.
        request: the period.
        earlier: number of earlier periods whose totals are listed.

    Raises:
        EmptyPeriodError: no site has one.
    """
    evidence = _invoiced(organisation, request)
    if evidence is None:
        raise EmptyPeriodError("no ledger is given (--ledger), and no site of the inputs (--org) has invoices of the period")
    before, year_ago = (None if each is None else _invoiced(organisation, each) for each in _earlier(request))
    listed = _listed(organisation, request, earlier)
    compared = tuple(ComparedPeriod(each.label, role, _invoiced(organisation, each)) for each, role in listed)
    return replace(evidence, before=before, year_ago=year_ago, compared=compared)


def _invoiced(organisation: Organisation, request: PeriodRequest) -> PeriodEvidence | None:
    periods = {name: request.period(inputs.zone) for name, inputs in organisation.sites.items()}
    spans = {name: invoiced_span(organisation, name, period) for name, period in periods.items()}
    every = [span for site_spans in spans.values() for span in site_spans]
    if not every:
        return None
    windows = {}
    for name, period in periods.items():
        site_spans = spans[name] or every
        start_ns = min(t for t, _ in site_spans) if period.start_ns is None else period.start_ns
        end_ns = max(t for _, t in site_spans) if period.end_ns is None else period.end_ns
        if spans[name]:
            windows[name] = invoiced_window(SiteWindow(start_ns, end_ns), organisation.sites[name])
        elif is_awaited(organisation, name, (), start_ns, end_ns):
            windows[name] = SiteWindow(start_ns, end_ns)
    sums = LedgerSums(windows, simulated=False, parts={}, cells={name: {} for name in windows})
    sites = {name: _site(name, sums, {}, organisation, compared=False) for name in sums.sites}
    return PeriodEvidence(request.label, sums, sites, (), organisation)


def _unused_days(days: Iterable[Day], used: Iterable[Day]) -> list[Day]:
    """Days that are not among those used."""
    had = {day.folder for day in used}
    return [day for day in days if day.folder not in had]


def _with_witness(used: list[Day], days: Sequence[Day], windows: Mapping[str, SiteWindow]) -> list[Day]:
    """Add the days that show that the period is over, and that it is not a site's first, unless used days show it.

    A report that is reproduced from its days alone needs these too.
    """
    end_ns = max(w.end_ns for w in windows.values())
    newest = max(days, key=lambda d: (d.end_ns, d.site))
    is_over = any(d.end_ns >= end_ns for d in used) or newest.end_ns < end_ns
    witnesses = [] if is_over else [newest]
    for site, window in windows.items():
        earlier = [d for d in days if d.site == site and d.start_ns < window.start_ns]
        if earlier and not any(d.site == site and d.start_ns < window.start_ns for d in used):
            witnesses.append(max(earlier, key=lambda d: d.start_ns))
    return [*used, *_unused_days(witnesses, used)]


def _of_period(
    system: DayStorage,
    days: Sequence[Day],
    organisation: Organisation,
    request: PeriodRequest,
    windows: Mapping[str, SiteWindow],
    limits: EngineOptions,
    *,
    compared: bool = False,
) -> tuple[PeriodEvidence, list[Day]]:
    """A period's evidence.

    Of one that is only compared with, without bounds, without the PUE of twelve months and without savings.
    """
    used = days_in(days, windows)
    verify_files(system, used, [kind_file(kind) for kind in _READ])
    cut = [d for d in used if d.start_ns < windows[d.site].start_ns or d.end_ns > windows[d.site].end_ns]
    verify_files(system, cut, [kind_file(kind) for kind in ("cell", "time", "span")])
    year = days_in(days, windows if compared else _year(windows, until_start=True))
    verify_files(system, _unused_days(year, used), [kind_file(kind) for kind in METER_SUMS])
    window = savings_period(request, days)
    proof = [] if compared else days_of(days, windows, window)
    verify_files(system, proof, [kind_file(kind) for kind in PROOF])
    with open_store(system, used, windows, year, proof, limits) as store:
        sums = read_sums(store, used, organisation, request, bounds=not compared)
        if not sums.wholes:
            raise EmptyPeriodError(
                f"{system.url}: no GPU or node in the period; the ledger of a site process has only its meters"
            )
        books = _books(store, system, year, sums.windows)
        sites = {name: _site(name, sums, books, organisation, compared) for name in sums.sites}
        worth = {name: site.grid.worth for name, site in sites.items()}
        priced = read_priced(store, worth, sums)
        if proof:
            sums = replace(sums, savings=read_savings(store, window))
    all_days = [*used, *_unused_days(days_in(year, windows if compared else _year(sums.windows)), used)]
    proven = [d for d in proof if (d.site, d.start_ns) in sums.savings.days]
    return PeriodEvidence(request.label, sums, sites, priced, organisation), [*all_days, *_unused_days(proven, all_days)]


def _books(
    store: DayDatabase, system: DayStorage, days: Sequence[Day], windows: Mapping[str, SiteWindow]
) -> Mapping[str, FacilityBook]:
    """Return a FacilityBook per site with meters. This checks the row files; the files of sums were checked earlier."""

    def read_rows_of(wanted: frozenset[tuple[str, int]]) -> None:
        by_rows = [d for d in days if (d.site, d.start_ns) in wanted]
        verify_files(system, by_rows, [kind_file(kind) for kind in METER_ROWS])
        store.open_meters(system, by_rows)

    return read_books(store, windows, read_rows_of)


def _site(
    name: str, sums: LedgerSums, books: Mapping[str, FacilityBook], organisation: Organisation, compared: bool
) -> SiteEvidence:
    """Return a site's evidence. Contracts and tariffs apply to energy at the boundary of the site's CO2e (see carbon.py)."""
    window, inputs = sums.windows[name], organisation.sites.get(name)
    node_uj = sum(w.energy_uj for w in sums.wholes if w.site == name and w.device_class != "part")
    hosts = not sums.node_gap(name)
    cells = sums.cells[name]
    used = (max(min(cells), window.start_ns), min(max(cells) + CELL_NS, window.end_ns)) if cells else None
    site_building = building(name, window, books.get(name), inputs, node_uj, used=used, twelve_months=not compared)
    metered = site_building.measured
    recorded = any(w.site == name for w in sums.wholes)
    site_building = from_invoices(site_building, inputs, window, node_uj if hosts else 0, recorded=recorded)
    nodes_uj = {t: gpu + (host if hosts else 0) for t, (gpu, host) in cells.items()}
    pue = site_building.pue.amount.value if site_building.pue is not None and hosts else None
    drawn = site_building.bought_cells if site_building.measured else nodes_uj if pue is None else times(nodes_uj, pue)
    sold = site_building.made_cells if inputs is not None and inputs.on_site_kept is False else {}
    compared_with, reason = (
        (drawn, "") if metered or (recorded and not site_building.invoiced) else (nodes_uj, "" if nodes_uj else NO_LEDGER)
    )
    return SiteEvidence(
        name,
        window,
        inputs,
        site_building,
        grid(inputs, drawn, window, cells, sold=sold, matched=not compared, flat=site_building.invoiced),
        site_invoices(inputs, window, compared_with, reason, site_building.bought_in if metered else {}),
    )


def _year(windows: Mapping[str, SiteWindow], *, until_start: bool = False) -> dict[str, SiteWindow]:
    """Twelve months to the end of each site's window; or to its start, with it, as it may turn out to end at any reading."""
    first = {site: w.start_ns if until_start else w.end_ns for site, w in windows.items()}
    return {site: SiteWindow(first[site] - YEAR_NS - DAY_NS, w.end_ns) for site, w in windows.items()}
