"""Inputs of `wattlens pue`: the site's ledger, the site's file, and the ledgers of its nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.boundary import is_meter, site_and_meter
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.errors import UsageError
from energy_agent.core.meters.facility import METER_KIND, MeterEnergy
from energy_agent.ledger.facility import FacilityBook
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import CELL_NS, Cell, Row
from energy_agent.site.building.gaps import MeterFill, fill_gaps
from energy_agent.site.building.pue import made_terms, total_terms
from wattlens.site.file import SiteFile, load_site
from wattlens.site.pue.carbon import with_others
from wattlens.site.pue.statement import PueContext, PueStatement
from wattlens.state_folder import default_state_dir


@dataclass(frozen=True, slots=True)
class PueInputs:
    """All inputs of a PUE statement. `nodes` has the energy of the nodes' ledgers by cell."""

    site: str
    book: FacilityBook
    simulated: bool
    config: SiteFile | None
    nodes: dict[int, int]
    state: Path | None = None

    @property
    def time_zone(self) -> str:
        """The site's, as far as its file was given."""
        return self.config.site.time_zone if self.config is not None else "UTC"

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """What there is energy of: by meters, else by the nodes' ledgers."""
        if self.book.span_ns is not None or not self.nodes:
            return self.book.span_ns
        return min(self.nodes), max(self.nodes) + CELL_NS

    def around(self, start_ns: int, end_ns: int) -> PueContext:
        """What stands in for meters in a window."""
        stated = None if self.config is None else self.config.pue.as_value
        nodes_uj = sum(uj for start, uj in self.nodes.items() if start_ns <= start < end_ns) if self.nodes else None
        return PueContext(stated, nodes_uj)

    def fills(self, meters: Mapping[str, MeterEnergy], start_ns: int, end_ns: int) -> dict[str, MeterFill]:
        """What is imputed for gaps of the meters of the total in a window of whole cells."""
        facts = {m: e.facts for m, e in meters.items()}
        spans = {m: meters[m].lives for m in {**total_terms(facts), **made_terms(facts)[1]}}
        return fill_gaps(meters, spans, lambda m: self.book.cells_of(m, start_ns, end_ns), spans)

    def with_others(
        self, statement: PueStatement, fills: Mapping[str, MeterFill], as_of_ns: int, *, accept_old: bool = False
    ) -> PueStatement:
        """The statement with water, carbon as it was known at a moment, contracts and cost, as the site's file has them."""
        if self.config is None:
            return statement
        return with_others(statement, self.config, self.book, fills, self.state, as_of_ns, accept_old=accept_old)


def read_inputs(ledger: Path | None, site: str | None, config: Path | None, nodes: Path | None) -> PueInputs:
    """Read it all.

    Raises:
        UsageError: no ledger, no such site, or several and none named; a file that is wrong.
        ChainError: a damaged segment.
        JournalError: a damaged journal.
    """
    settings = load_site(config) if config is not None else None
    if site is not None and settings is not None and settings.site.name != site:
        raise UsageError(f"--site {site[:80]!r}: differs from --config {config}, which is of site {settings.site.name!r}")
    wanted = site or (settings.site.name if settings is not None else None)
    rows: list[Row] = []
    sites: set[str] = set()
    simulated = False
    source = ledger or default_state_dir("wattlens-site")
    if not source.exists():
        if nodes is None or settings is None:
            raise UsageError(f"{source}: no ledger of a site found; select one with --ledger")
    else:
        for located in read_rows(source):
            row = located.row
            name = row.workload if isinstance(row, WorkloadFacts) else getattr(row, "device", "")
            if is_meter(name):
                rows.append(row)
                simulated = simulated or located.simulated
                if isinstance(row, WorkloadFacts) and row.kind == METER_KIND:
                    sites.add(site_and_meter(name)[0])
    if not sites and source.exists() and wanted is None:
        raise UsageError(f"{source} has no building meter yet")
    chosen = wanted or (min(sites) if len(sites) == 1 else None)
    site_names = ", ".join(sorted(sites))
    if chosen is None:
        raise UsageError(f"--site: expected the name of one site; {source} has meters of: {site_names}")
    if sites and chosen not in sites:
        raise UsageError(f"{source} has no meter of site {chosen!r}; it has: {site_names}")
    book = FacilityBook(chosen)
    for row in rows:
        book.add(row)
    return PueInputs(chosen, book, simulated, settings, _node_cells(nodes) if nodes is not None else {}, source)


def _node_cells(nodes: Path) -> dict[int, int]:
    """Energy of everything that the nodes' ledgers hold, by cell: a lower bound of IT where a node has no meter of its own."""
    energy_uj: dict[int, int] = {}
    for located in read_rows(nodes):
        row = located.row
        if isinstance(row, Cell) and not is_meter(row.device):
            energy_uj[row.cell_start_ns] = energy_uj.get(row.cell_start_ns, 0) + row.energy_uj
    return energy_uj
