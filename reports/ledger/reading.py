"""A ledger's sums over a period: which days, which window of each site, whose, and how sure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from zoneinfo import ZoneInfo

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.errors import WattlensError
from reports.inputs.organisation import Organisation, SiteInputs
from reports.ledger import attribution, gains
from reports.ledger.days import Day, EmptyPeriodError, overlapping
from reports.ledger.gained import read_devices, read_parts, read_states, whole_energy_of
from reports.ledger.store import DayDatabase, statements
from reports.ledger.sums import (  # fmt: skip
    SHORT_HOST,
    ActionCount,
    CellRates,
    DayEnergy,
    LedgerSums,
    MeteredDevice,
    MeteredNode,
    NodeShare,
    PartCost,
    SiteWindow,
    StepTotal,
    TokenTotal,
    UnmeasuredTime,
    WorkloadUse,
)
from reports.period import Period, PeriodRequest, utc_text


def windows_of(days: Sequence[Day], organisation: Organisation, request: PeriodRequest) -> dict[str, SiteWindow]:
    """The period of each site, in its own time zone.

    Raises:
        EmptyPeriodError: the ledger holds nothing of that time.
    """
    names = sorted({d.site for d in days} | set(organisation.sites))
    until_ns = max(d.end_ns for d in days)
    windows = {}
    for name in names:
        site_days = [d for d in days if d.site == name]
        zone = organisation.sites[name].zone if name in organisation.sites else ZoneInfo("UTC")
        period = request.period(zone)
        bills = invoiced_span(organisation, name, period)
        starts, ends = (
            [d.start_ns for d in site_days] or [t for t, _ in bills],
            [d.end_ns for d in site_days] or [t for _, t in bills],
        )
        start_ns = period.start_ns if period.start_ns is not None else min(starts, default=None)
        end_ns = period.end_ns if period.end_ns is not None else max(ends, default=None)
        if (
            start_ns is not None
            and end_ns is not None
            and is_awaited(organisation, name, site_days, start_ns, min(end_ns, until_ns))
        ):
            first = request.kind is not None and _begins_within(organisation, name, site_days, start_ns)
            windows[name] = SiteWindow(start_ns, end_ns, until_ns < end_ns, first)
        if name in windows and bills and not overlapping(site_days, windows[name].start_ns, windows[name].end_ns):
            windows[name] = invoiced_window(windows[name], organisation.sites[name])
    if not any(overlapping((d for d in days if d.site == name), w.start_ns, w.end_ns) for name, w in windows.items()):
        span_text = f"{utc_text(min(d.start_ns for d in days))} to {utc_text(max(d.end_ns for d in days))}"
        raise EmptyPeriodError(f"no energy in the period; the ledger covers {span_text}")
    return windows


def invoiced_span(organisation: Organisation, site: str, period: Period) -> list[tuple[int, int]]:
    """Return the time that a site's invoices cover, as far as they have a part in the period; [] if none has."""
    inputs = organisation.sites.get(site)
    invoices = () if inputs is None else inputs.supplied
    rows = [i for i in invoices if i.start_ns < (period.end_ns or i.end_ns) and i.end_ns > (period.start_ns or 0)]
    return [(min(i.start_ns for i in rows), max(i.end_ns for i in rows))] if rows else []


def invoiced_window(window: SiteWindow, inputs: SiteInputs) -> SiteWindow:
    """Return the window of a site that only has invoices: from its first one and to its last one, if these are within it."""
    rows = inputs.supplied
    start_ns = max(window.start_ns, min(i.start_ns for i in rows))
    end_ns = min(window.end_ns, max(i.end_ns for i in rows))
    return SiteWindow(start_ns, end_ns, end_ns < window.end_ns, start_ns > window.start_ns, by_invoices=True)


def is_awaited(organisation: Organisation, site: str, days: Iterable[Day], start_ns: int, end_ns: int) -> bool:
    """Return whether a site has data, or should have data, in the period. A site outside its operating time is not a gap."""
    if overlapping(days, start_ns, end_ns) or invoiced_span(organisation, site, Period(start_ns, end_ns)):
        return True
    inputs = organisation.sites.get(site)
    rows = () if inputs is None else inputs.supplied
    if rows and all(i.start_ns >= end_ns for i in rows):
        return False
    if not organisation.expected:
        return site in organisation.sites
    return any(e.site == site and e.start_ns < end_ns and e.end_ns > start_ns for e in organisation.expected)


def _begins_within(organisation: Organisation, site: str, days: Sequence[Day], start_ns: int) -> bool:
    """Return whether a site has no earlier day, and no device that its inventory dates before its first day.

    Then the named period is its first one. A device with an earlier first day in the inventory was not metered.
    """
    first_ns = min((d.start_ns for d in days), default=0)
    return first_ns >= start_ns and not any(0 < e.start_ns < first_ns for e in organisation.expected if e.site == site)


def days_in(days: Iterable[Day], windows: Mapping[str, SiteWindow]) -> list[Day]:
    """The days that the windows of their sites overlap."""
    return [d for d in days if d.site in windows and overlapping([d], windows[d.site].start_ns, windows[d.site].end_ns)]


def read_sums(
    store: DayDatabase, days: Sequence[Day], organisation: Organisation, request: PeriodRequest, *, bounds: bool = True
) -> LedgerSums:
    """Everything that a report takes from the ledger, but for what its cells are worth (`read_priced`).

    Without `bounds`, which cost most of the time, no energy has any.
    """
    registry = attribution.register_parts(store, organisation.teams, organisation.model_names)
    store.run("used" if bounds else "unbounded")
    store.run("classed")
    store.run("cells")
    refuse_twice(store)
    (gains.create if bounds else gains.create_empty)(store)

    cells: dict[str, dict[int, tuple[int, int]]] = {site: {} for site in store.windows}
    for site, start_ns, gpu, host in store.answer("cells"):
        cells[site][start_ns] = int(gpu), int(host)

    def used(name: str) -> tuple[WorkloadUse, ...]:
        return tuple(replace(row, name=registry.called[int(row.name)]) for row in store.records(WorkloadUse, name))

    return LedgerSums(
        windows=_metered(store, request),
        simulated=any(d.simulated for d in days),
        parts=registry.parts,
        part_rows=read_parts(store),
        wholes=whole_energy_of(read_devices(store)),
        states=read_states(store),
        unseen=_unseen(store),
        tokens=store.records(TokenTotal, "tokens"),
        steps=store.records(StepTotal, "steps"),
        actions=store.records(ActionCount, "actions"),
        days=store.records(DayEnergy, "days"),
        largest=used("largest"),
        idlest=used("idlest"),
        metered_devices=store.records(MeteredDevice, "seen"),
        meter_nodes=frozenset((r[0], r[1], r[2]) for r in store.answer("meter_nodes")),
        nodes=store.records(MeteredNode, "nodes"),
        node_shares=store.records(NodeShare, "node_shares") if organisation.hosts else (),
        cells=cells,
        imported=imported(store),
        boards=tuple((r[0], int(r[1]), r[2], int(r[3])) for r in store.query("boards")),
    )


def _unseen(store: DayDatabase) -> tuple[UnmeasuredTime, ...]:
    """Return unmeasured time from the ledger's gaps, and of hosts metered for less time than the GPUs of their nodes."""
    rows = list(store.records(UnmeasuredTime, "gaps"))
    rows += [
        UnmeasuredTime(r[0], "host", f"{UNBOUNDED}{SHORT_HOST}", 0, int(r[1]), int(r[2])) for r in store.answer("short_hosts")
    ]
    return tuple(sorted(rows, key=lambda row: (row.site, row.device_class, row.reason)))


def _metered(store: DayDatabase, request: PeriodRequest) -> dict[str, SiteWindow]:
    """The windows as far as something is in them.

    That concerns a side that nobody asked for, the start of a site's first period, and the end of a period that still runs.
    """
    extent = {site: (int(first), int(last)) for site, first, last in store.answer("extent") if first is not None}
    last_ns = max((last for _, last in extent.values()), default=None)
    metered = {}
    for site, window in store.windows.items():
        if window.by_invoices:
            metered[site] = window
            continue
        start_ns, end_ns = window.start_ns, window.end_ns
        if site in extent and request.kind is None:
            start_ns = start_ns if request.start else max(start_ns, extent[site][0])
            end_ns = end_ns if request.end else min(end_ns, extent[site][1])
        if window.first and site in extent:
            start_ns = max(start_ns, min(extent[site][0], end_ns))
        if window.open and last_ns is not None:
            end_ns = max(start_ns, min(end_ns, last_ns))
        metered[site] = SiteWindow(start_ns, end_ns, window.open, window.first and start_ns > window.start_ns)
    return metered


def read_priced(store: DayDatabase, worth: Mapping[str, CellRates], sums: LedgerSums) -> tuple[PartCost, ...]:
    """Energy of every part times what its cells are worth, exactly: with its hosts where `sums` knows the nodes whole."""
    columns = {"site": "VARCHAR", "cell_start_ns": "BIGINT", "grams": "HUGEINT", "money": "HUGEINT"}
    store.table(
        "price",
        columns,
        (
            (site, start_ns, each.grams.get(start_ns), each.money.get(start_ns))
            for site, each in sorted(worth.items())
            for start_ns in sorted(sums.cells[site])
        ),
    )
    priced = []
    for site, part, *pairs in store.answer("priced"):
        of = worth.get(site, CellRates({}, 1, {}, 1))
        gpu, host, *amounts = (int(number) for number in pairs)
        hosts = not sums.node_gap(site)
        grams, money, ungrammed, unpriced = (amounts[i] + (amounts[i + 1] if hosts else 0) for i in range(0, 8, 2))
        exact = Fraction(grams, of.grams_over), Fraction(money, of.money_over)
        priced.append(PartCost(site, int(part), gpu, host if hosts else 0, *exact, ungrammed, unpriced))
    return tuple(priced)


def imported(store: DayDatabase) -> dict[str, int]:
    """Energy of GPUs in uJ that was imported (`wattlens ledger import`), by site; it is of a lower quality."""
    return {site: int(uj) for site, uj in store.rows(statements("origin")["imported"])}


def refuse_twice(store: DayDatabase) -> None:
    """Check that only one chain records each device's time.

    Raises:
        WattlensError: two chains, or two sites, record a device at the same time, so its joules would count twice.
    """
    for device, site, cluster, node, before_site, before_cluster, before_node, start_ns in store.rows(
        statements("origin")["twice"]
    ):
        if (cluster, node) == (before_cluster, before_node):
            raise WattlensError(
                f"{device} of {cluster}/{node}: belongs to site {before_site} and to site {site} at {utc_text(int(start_ns))}, "
                "so its energy would count twice; compact that day again from all of its segments, with the inventory as it is "
                "now"
            )
        both = f"{before_cluster}/{before_node} and {cluster}/{node}"
        raise WattlensError(
            f"{device}: {both} both record it at {utc_text(int(start_ns))}, so its energy would count twice; compact without "
            "one of them (an import and the agent's own segments of the same time?)"
        )
