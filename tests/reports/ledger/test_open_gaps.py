"""What nothing bounds raises an upper bound without end: gaps without a bound, hosts metered for less time than their GPUs."""

from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.core.boundary import UNBOUNDED, host
from energy_agent.core.energy import Gap, State, WorkloadFacts
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.figures.facts import Facts
from reports.figures.figure import plain
from reports.inputs.organisation import Organisation
from reports.language import say_in
from reports.page.section import Note
from reports.page.sections.quality import build
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.chains import CELL, HOUR, S
from tests.reports.golden import at, cells

JULY = at("2026-07-01")
HOST = host("lab", "n1")


def make_facts(folder: Path, chains_of: dict[str, list[Batch]]) -> Facts:
    for node, batches in chains_of.items():
        chains.write(folder / "segments", "lab", node, batches)
    days = chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))
    return chains.facts(days, Organisation(least_coverage=Fraction(0)), PeriodRequest("2026Q3"))


def hour(device: str, *gaps: Gap, holder: str = "", count: int = 4) -> Batch:
    """0.49 kWh a cell, at a sensor that is right within 2 %: 0.01 kWh, 36,000 J, of each."""
    devices = [DeviceFacts(device, "H100", 0.02, JULY)]
    facts = [WorkloadFacts(holder, JULY, "pod")] if holder else []
    state = State.ACTIVE if holder else State.UNALLOCATED
    return Batch(cells(JULY, device, holder, state, ["0.49"] * count, 0), list(gaps), devices=devices, facts=facts)


def notes(facts: Facts) -> list[str]:
    return [b.text for b in build(facts, say_in("en")) if isinstance(b, Note) and b.text.startswith("Unmeasured")]


def bounds(facts: Facts, identity: str) -> tuple[str | None, str | None, str | None]:
    figure = facts.figures[identity]
    return plain(figure.low) or None, figure.text or None, plain(figure.high) or None


def test_a_gap_without_a_bound_leaves_no_upper_bound(tmp_path: Path) -> None:
    """GPU-1 was lost for half an hour of which nobody knows a bound, GPU-2 for a quarter that 1,400 J bound."""
    lost = Gap("GPU-1", JULY + HOUR, JULY + HOUR + 2 * CELL, 0, f"{UNBOUNDED}counter reset")
    bounded_gap = Gap("GPU-2", JULY + HOUR, JULY + HOUR + CELL, 1_400_000_000, "lost")
    both = {"n1": [hour("GPU-1", lost, holder="w1")], "n2": [hour("GPU-2", bounded_gap, holder="w2")]}
    facts = make_facts(tmp_path, both)
    low, value, high = bounds(facts, "energy.gpu")
    assert (low, value, high) == (str(2 * 4 * (1_764_000 - 36_000)), str(2 * 4 * 1_764_000), None)
    assert bounds(facts, "energy.gpu/site/here")[2] is None
    low, value, high = bounds(facts, "energy.held")
    assert (low, value, high) == (str(2 * 4 * (1_764_000 - 36_000)), str(2 * 4 * 1_764_000), None)
    unseen = facts.figures["uncertainty/unseen"]
    assert (unseen.value, unseen.reason) == (None, "devices whose energy in gaps has no upper bound: 1")
    assert facts.figures["uncertainty/systematic"].text == str(2 * 4 * 36_000)
    assert notes(facts) == [
        "Unmeasured device time: 15.0 min (devices: 1; reasons: lost), with at most 389 mWh. Sums exclude this energy; upper "
        "bounds include it wherever it may belong.",
        "Unmeasured device time: 30.0 min (devices: 1; reasons: counter reset), with energy that has no upper bound. Sums "
        "exclude this energy, and figures to which it may belong have no upper bound.",
    ]


def test_gaps_that_are_bounded_alone_leave_the_upper_bound(tmp_path: Path) -> None:
    bounded_gap = Gap("GPU-2", JULY + HOUR, JULY + HOUR + CELL, 1_400_000_000, "lost")
    facts = make_facts(tmp_path, {"n2": [hour("GPU-2", bounded_gap)]})
    assert bounds(facts, "energy.gpu")[2] == str(4 * (1_764_000 + 36_000) + 1_400)
    assert facts.figures["uncertainty/unseen"].text == "1400"


def hosted(gap: Gap | None, short_ns: int) -> Batch:
    """The node's own meter, 0.98 kWh a cell, for an hour less `short_ns` at its end."""
    entries = cells(JULY, HOST, "", State.UNALLOCATED, ["0.98"] * 4, 0)
    last = entries[-1]
    entries[-1] = type(last)(
        last.start_ns, last.end_ns - short_ns, HOST, "", State.UNALLOCATED, last.method, last.energy_uj, last.edge_uj, 0
    )
    return Batch(entries, [gap] if gap else [], devices=[DeviceFacts(HOST, "host", 0.02, JULY)])


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("short_s", "gap_s", "bounded"),
    [(0, 0, True), (3, 0, True), (4, 0, False), (300, 0, False), (300, 300, True), (300, 200, False)],
)
def test_a_host_that_was_metered_for_less_time_than_its_gpus_has_no_upper_bound(
    tmp_path: Path, short_s: int, gap_s: int, bounded: bool
) -> None:
    """A thousandth of an hour is 3.6 s; a gap says what it bounds. The node is known whole: it was metered for nine tenths."""
    end = JULY + HOUR
    gap = Gap(HOST, end - gap_s * S, end, 10_000_000, "lost") if gap_s else None
    facts = make_facts(tmp_path, {"n1": [hour("GPU-1"), hosted(gap, short_s * S)]})
    low, value, high = bounds(facts, "energy.node")
    assert (value, low is None, high is not None) == (str(4 * (1_764_000 + 3_528_000)), False, bounded)
    assert bounds(facts, "energy.gpu")[2] == str(4 * 1_800_000)
    open_gaps = [f for f in facts.by_prefix("gap/here/host/") if f.high is None]
    assert [f.dims["seconds"] for f in open_gaps] == ([] if bounded else [str(short_s - gap_s)])
