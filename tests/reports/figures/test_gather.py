"""What evidence is made of: which files are checked and which quarters compared; nodes, and devices that moved."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.parquet
import pytest

from energy_agent.core.boundary import host
from energy_agent.core.energy import Entry, Method, State, WorkloadFacts
from energy_agent.core.errors import ChainError
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.chains import CELL, DAY, HOUR, KWH
from tests.reports.golden import at, cells

APRIL, JULY, OCTOBER = at("2026-04-01"), at("2026-07-01"), at("2026-10-01")
ANY = Organisation(least_coverage=Fraction(0))
MAIN, IT = MeterFacts("main", Role.TOTAL), MeterFacts("it", Role.IT, Position.UPS_OUTPUT, "main")


def gpu(uuid: str, start: int, count: int = 4, sku: str = "H100") -> Batch:
    devices = [DeviceFacts(uuid, sku, 0.02, APRIL)]
    return Batch(
        cells(start, uuid, "w", State.ACTIVE, ["0.49"] * count), devices=devices, facts=[WorkloadFacts("w", APRIL, "pod")]
    )


def meters(start: int, end: int) -> Batch:
    """Two meters of the building, 2 and 1 kWh in each cell."""
    workload_facts = [WorkloadFacts(m.device("here"), start, METER_KIND, m.labels) for m in (MAIN, IT)]
    of = [DeviceFacts(m.device("here"), "meter modbus", 0, start) for m in (MAIN, IT)]
    entries = [
        Entry(t, t + CELL, m.device("here"), "", State.UNALLOCATED, Method.COUNTER, kwh * KWH, 0, CELL)
        for m, kwh in ((MAIN, 2), (IT, 1))
        for t in range(start, end, CELL)
    ]
    return Batch(entries, facts=workload_facts, devices=of)


def write_days(folder: Path, chains_of: dict[str, list[Batch]], sites: Sites | None = None) -> Path:
    for node, batches in chains_of.items():
        chains.write(folder / "segments", "lab", node, batches)
    return chains.compacted(folder / "segments", folder / "days", sites or Sites({}, "here"))


def fewer(path: Path) -> None:
    """The building used a thousandth less: the file is a sound one, and its hash another."""
    table = pyarrow.parquet.read_table(path)
    uj = [
        v - v // 1000 if d.startswith("meter:") else v
        for d, v in zip(*(table[c].to_pylist() for c in ("device", "energy_uj")), strict=True)
    ]
    index = table.schema.get_field_index("energy_uj")
    pyarrow.parquet.write_table(table.set_column(index, "energy_uj", pyarrow.array(uj)), path)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.smoke
@pytest.mark.parametrize(("day", "kind"), [("2026-07-01", "cell"), ("2026-06-30", "cell"), ("2026-06-30", "span")])
def test_the_rows_of_meters_are_checked_also_in_the_year_before(tmp_path: Path, day: str, kind: str) -> None:
    """A building's energy is read of rows, of whole days too, and of twelve months: each of their files is in the manifest."""
    days = write_days(tmp_path, {"n1": [gpu("GPU-1", JULY)], "site": [meters(JULY - DAY, JULY + DAY)]})
    asked = PeriodRequest(None, "2026-07-01", "2026-07-02")
    facts = chains.facts(days, ANY, asked)
    assert [d.day for d in facts.days] == ["2026-06-30", "2026-07-01"]
    assert facts.figures["pue/site/here"].text == "2"
    (fewer if kind == "cell" else cut_short)(days / "here" / day / "r0000" / f"{kind}.parquet")
    with pytest.raises(ChainError, match=rf"{day}/r0000/{kind}.parquet: differs from its manifest"):
        chains.facts(days, ANY, asked)


def test_a_damaged_quarter_before_is_no_quarter_that_is_not_there(tmp_path: Path) -> None:
    days = write_days(tmp_path, {"n1": [gpu("GPU-1", t) for t in (APRIL, JULY, OCTOBER)]})
    assert chains.facts(days, ANY, PeriodRequest("2026Q3")).figures["bridge.energy/before/from"].text == str(4 * 1_764_000)
    cut_short(days / "here" / "2026-04-01" / "r0000" / "span_day.parquet")
    with pytest.raises(ChainError, match=r"2026-04-01/r0000/span_day.parquet"):
        chains.facts(days, ANY, PeriodRequest("2026Q3"))


def test_a_quarter_that_was_hardly_metered_is_not_compared_with(tmp_path: Path) -> None:
    """Of April to June an hour was metered: growth from that would be growth of nothing."""
    days = write_days(tmp_path, {"n1": [gpu("GPU-1", t) for t in (APRIL, JULY, OCTOBER)]})
    figure = chains.facts(days, Organisation(), PeriodRequest("2026Q3")).figures["bridge.energy/before"]
    assert figure.reason == "only 0.0458 % of 2026Q2 was metered, too little to compare with"  # 1 of 2,184 h


def test_a_node_is_known_whole_by_its_own_host_and_not_by_anothers(tmp_path: Path) -> None:
    """n1 (an H100) has a host, n2 (an A100) has none, and n3 has a host alone: two hosts and two nodes with GPUs."""
    around = {name: host("lab", name) for name in ("n1", "n3")}
    hosts = {
        name: Batch(cells(JULY, device, "", State.UNALLOCATED, ["0.1"] * 4), devices=[DeviceFacts(device, "host", 0.02, JULY)])
        for name, device in around.items()
    }
    days = write_days(
        tmp_path, {"n1": [gpu("GPU-1", JULY), hosts["n1"]], "n2": [gpu("GPU-2", JULY, sku="A100")], "n3": [hosts["n3"]]}
    )
    figure = chains.facts(days, ANY, PeriodRequest("2026Q3")).figures["energy.node/site/here"]
    assert figure.reason == "2 of 3 nodes of here have a whole-node meter"


def test_a_host_that_was_metered_for_half_of_the_time_makes_no_node(tmp_path: Path) -> None:
    device = host("lab", "n1")
    half = Batch(cells(JULY, device, "", State.UNALLOCATED, ["0.1"] * 2), devices=[DeviceFacts(device, "host", 0.02, JULY)])
    days = write_days(tmp_path, {"n1": [gpu("GPU-1", JULY), half]})
    facts = chains.facts(days, ANY, PeriodRequest("2026Q3"))
    assert facts.figures["energy.node/site/here"].reason == "no node of here has a whole-node meter"


def test_a_board_that_moved_was_metered_on_both_nodes(tmp_path: Path) -> None:
    """GPU-1 is on n1 for one hour, then on n2 for three; the inventory expects it for the whole quarter."""
    days = write_days(tmp_path, {"n1": [gpu("GPU-1", JULY)], "n2": [gpu("GPU-1", JULY + HOUR, 12)]})
    stands = (
        ExpectedDevice("lab", "n1", "GPU-1", "", "here", 0, JULY + HOUR),
        ExpectedDevice("lab", "n2", "GPU-1", "", "here", JULY + HOUR, INT64_MAX),
    )
    organisation = Organisation(
        least_coverage=Fraction(0), expected=stands, sites={"here": SiteInputs("here", ZoneInfo("UTC"))}
    )
    figure = chains.facts(days, organisation, PeriodRequest(None, "2026-07-01", "2026-07-01T08:00Z")).figures["coverage"]
    assert figure.text == "0.5"


def test_facts_of_the_next_day_are_not_those_of_the_last(tmp_path: Path) -> None:
    """A segment over midnight holds facts of both days; what the day used is whose the day's end says, later facts or not."""
    workload_facts = [
        WorkloadFacts("w", JULY, "pod", {"team": "red"}),
        WorkloadFacts("w", JULY + DAY + CELL, "pod", {"team": "blue"}),
    ]
    over = cells(JULY + DAY - HOUR, "GPU-1", "w", State.ACTIVE, ["0.49"] * 8)
    days = write_days(tmp_path, {"n1": [Batch(over, devices=[DeviceFacts("GPU-1", "H100", 0.02, JULY)], facts=workload_facts)]})
    facts = chains.facts(days, ANY, PeriodRequest("2026Q3"))
    assert {f.dims["team"]: f.text for f in facts.of("energy.held", "team")} == {"red": "7056000", "blue": "7056000"}


@pytest.mark.parametrize("order", [list, reversed])
def test_later_facts_replace_earlier_ones_of_the_same_instant(tmp_path: Path, order: Callable[..., list]) -> None:
    """A pod's labels are often known only later, from the same instant on."""
    hours = []
    for n, team in enumerate(order(["red", "blue"])):
        start = JULY + n * HOUR
        workload_facts = [WorkloadFacts("w", JULY, "pod", {"team": team})]
        devices = [DeviceFacts("GPU-1", f"board {team}", 0.02, JULY)]
        hours.append(Batch(cells(start, "GPU-1", "w", State.ACTIVE, ["0.49"] * 4), devices=devices, facts=workload_facts))
    days = write_days(tmp_path, {"n1": hours})
    facts = chains.facts(days, ANY, PeriodRequest("2026Q3"))
    last = list(order(["red", "blue"]))[-1]
    assert [f.dims["team"] for f in facts.of("energy.held", "team")] == [last]
    assert [f.dims["sku"] for f in facts.of("energy.gpu", "sku")] == [f"board {last}"]


def test_meter_with_an_invalid_role_is_named(tmp_path: Path) -> None:
    wrong = Batch(
        cells(JULY, "meter:here:main", "", State.UNALLOCATED, ["1"]),
        facts=[WorkloadFacts("meter:here:main", JULY, METER_KIND, {"role": "sun"})],
        devices=[DeviceFacts("meter:here:main", "meter", 0, JULY)],
    )
    days = write_days(tmp_path, {"n1": [gpu("GPU-1", JULY)], "site": [wrong]})
    with pytest.raises(ChainError, match="meters of site here: 'sun' is not a valid Role"):
        chains.facts(days, ANY, PeriodRequest("2026Q3"))
    assert json.loads((days / "here" / "2026-07-01" / "r0000" / "manifest.json").read_text())["site"] == "here"
