"""Every figure for energy, energy of tokens and grams states the coverage of its sites."""

from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State, Tokens, WorkloadFacts
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import Piece
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.figures.facts import Facts
from reports.figures.figure import plain
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.chains import HOUR
from tests.reports.golden import DIRECT, at, cells

JULY = at("2026-07-01")


def batch_of(device: str, hours: int, workload: str, team: str) -> Batch:
    """Some hours from midnight on, a model in each site."""
    workload_facts = [WorkloadFacts(workload, JULY, "pod", {"team": team})]
    tokens = [Tokens(JULY, JULY + HOUR, workload, f"model-{team}", "generation", 1000)]
    entries = cells(JULY, device, workload, State.ACTIVE, ["0.49"] * 4 * hours)
    return Batch(entries, tokens=tokens, devices=[DeviceFacts(device, "H100", 0.02, JULY)], facts=workload_facts)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Eight hours: east's board was metered for six of them and west's for two, so for eight of sixteen together."""
    folder = tmp_path_factory.mktemp("covered")
    chains.write(folder / "segments", "lab", "n1", [batch_of("GPU-1", 6, "w1", "red")])
    chains.write(folder / "segments", "lab", "n2", [batch_of("GPU-2", 2, "w2", "blue")])
    grid = IntensitySource("series", DIRECT, 1, (Piece(JULY, JULY + 24 * HOUR, Decimal(200), estimated=False),))
    organisation = Organisation(
        least_coverage=Fraction(0),
        expected=tuple(ExpectedDevice("lab", n, "", "", s, 0, INT64_MAX) for n, s in (("n1", "east"), ("n2", "west"))),
        sites={s: SiteInputs(s, ZoneInfo("UTC"), location=(grid,), location_lacking="") for s in ("east", "west")},
    )
    days = chains.compacted(folder / "segments", folder / "days", organisation.stays())
    return chains.facts(days, organisation, PeriodRequest(None, "2026-07-01", "2026-07-01T08:00Z"))


@pytest.mark.parametrize(
    ("identity", "share"),
    [
        ("coverage", None),
        ("energy.gpu", "0.5"),
        ("energy.gpu/site/east", "0.75"),
        ("energy.gpu/site/west", "0.25"),
        ("energy.gpu.active", "0.5"),
        ("energy.gpu.active/site/west", "0.25"),
        ("energy.gpu/sku/H100", "0.5"),
        ("energy.held", "0.5"),
        ("energy.held/team/red", "0.75"),
        ("energy.held.active/team/blue", "0.25"),
        ("energy.held/kind/pod", "0.5"),
        ("j_per_token.gpu", "0.5"),
        ("j_per_token.gpu/model/model-red", "0.75"),
        ("co2e.location", "0.5"),
        ("co2e.location/site/east", "0.75"),
        ("co2e.held.location/team/blue", "0.25"),
        ("energy.node", None),  # absent: nothing covers it
        ("tokens.generation", None),
    ],
)
def test_a_figure_has_the_coverage_of_its_sites(facts: Facts, identity: str, share: str | None) -> None:
    assert (plain(facts.figures[identity].coverage) or None) == share
