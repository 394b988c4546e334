"""Ledgers for the report's tests: chains of segments by the product's own writer, compacted, and made into facts."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from energy_agent.core.boundary import is_meter, site_and_meter
from energy_agent.core.energy import Identity
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.segments import segment
from reports.figures.evidence import PeriodEvidence
from reports.figures.facts import Facts, build_facts
from reports.figures.gather import gather
from reports.figures.measures import all_figures
from reports.inputs.invoices import ElectricityInvoice
from reports.inputs.organisation import Organisation
from reports.ledger.days import Day, DayStorage, find_days
from reports.period import PeriodRequest

EPOCH = date(1970, 1, 1)
S = 10**9
CELL = 900 * S
HOUR = 4 * CELL
DAY = 96 * CELL
KWH = 3_600_000_000_000


def bill(number: str, start_ns: int, end_ns: int, kwh: float | Decimal, percent: int = 2, **more: object) -> ElectricityInvoice:
    """An invoice of whole UTC days."""
    start, end = (EPOCH + timedelta(days=ns // DAY) for ns in (start_ns, end_ns - DAY))
    fields = {"accuracy_percent": Decimal(percent)} | more
    return ElectricityInvoice.model_construct(number=number, start=start, end=end, kwh=Decimal(str(kwh)), **fields)


def reading(meter: str, start_ns: int, end_ns: int, kwh: int) -> ElectricityInvoice:
    """Energy between two readings of a meter."""
    return bill(f"reading of {meter}", start_ns, end_ns, kwh, meter=meter)


def write(folder: Path, cluster: str, node: str, batches: Iterable[Batch], *, simulated: bool = False) -> list[Path]:
    """A node's chain, one segment a batch. Batches without rows leave none.

    Meters of a building are those of the site's process, whose node has the site's name; a second one is of another cluster.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batches = list(batches)
    sites = {site_and_meter(entry.device)[0] for batch in batches for entry in batch.entries if is_meter(entry.device)}
    if sites:
        (node,) = sites
        if (folder / segment.file_name(cluster, node, 0)).exists():
            cluster = f"{cluster}-2"
    book, previous, paths = Book(), segment.FIRST_PREVIOUS, list[Path]()
    for batch in batches:
        book.add(batch)
        item = take(book, None, Identity(cluster, node, "boot", "0.1.0", simulated), len(paths), previous)
        if item is None:
            continue
        paths.append(folder / segment.file_name(cluster, node, len(paths)))
        paths[-1].write_bytes(item.body)
        book = book.without(item.rows)
        previous = item.sha256
    return paths


def compacted(source: Path, out: Path, sites: Sites, **options: str) -> Path:
    """Compacted days of every segment in `source`."""
    ledger_index = index.build([source])
    for _ in compact_days(ledger_index, out, ledger_index.days, sites, **options):
        pass
    return out


def evidence(days: Path, organisation: Organisation, asked: PeriodRequest) -> tuple[PeriodEvidence, Sequence[Day]]:
    """The evidence of a period, and the days that it was made of."""
    system = DayStorage(str(days))
    return gather(system, find_days(system), organisation, asked)


def facts(days: Path, organisation: Organisation, asked: PeriodRequest) -> Facts:
    """The facts of a period."""
    return facts_of(*evidence(days, organisation, asked))


def facts_of(period_evidence: PeriodEvidence, used: Sequence[Day]) -> Facts:
    """The facts of what was gathered."""
    return build_facts(period_evidence, all_figures(period_evidence), used, "0.1.0")
