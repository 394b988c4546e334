"""Energy of a whole fleet, whose microjoules are more than 64 bits hold: the report's sums stay exact."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.core.meters.plausible import NODE_MAX_MW
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.figures.measures import all_figures
from reports.inputs.organisation import Organisation, SiteInputs
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.figures.test_carbon_findings import JULY
from tests.reports.golden import DIRECT, cells, constant, host


@pytest.mark.proof
def test_sums_beyond_64_bits_are_exact(tmp_path: Path) -> None:
    """Nodes that draw almost as much as a node can, for the whole quarter."""
    length_ns = 92 * chains.DAY
    uj = NODE_MAX_MW * (length_ns // NS_PER_S) * 1000 - 7
    names = [f"n{number}" for number in range(INT64_MAX // uj + 1)]
    for node in names:
        around = host("lab", node)
        (entry,) = cells(JULY, around, "w", State.ACTIVE, ["1"], 0)
        whole = replace(entry, energy_uj=uj, end_ns=JULY + length_ns)
        batch = Batch(
            [whole], devices=[DeviceFacts(around, "", 0.02, JULY)], facts=[WorkloadFacts("w", JULY, "pod", {"team": "red"})]
        )
        chains.write(tmp_path / "segments", "lab", node, [batch])
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", Sites({}, "here"))
    inputs = SiteInputs("here", ZoneInfo("UTC"), location=(constant("of.grid", DIRECT, 400),), location_lacking="")
    organisation = Organisation(sites={"here": inputs}, least_coverage=Fraction(0))
    figures = {each.id: each for each in all_figures(chains.evidence(days, organisation, PeriodRequest("2026Q3"))[0])}
    total = Fraction(len(names) * uj, 10**6)
    assert len(names) * uj > INT64_MAX
    assert figures["energy.host"].value == total
    rounded = {
        "energy.node/site/here": total,
        "energy.held.node/team/red": total,
        "co2e.location/site/here": total * 400 / 3_600_000,
    }
    for name, value in rounded.items():
        assert figures[name].value == pytest.approx(value, rel=1e-8), name
