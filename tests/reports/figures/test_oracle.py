"""Facts against a plain walk over the rows of the segments: every sum, group, gram and coin, of any period, to the last digit.

The walk knows nothing of SQL, Parquet or day sums. What it shares with the report is the form of a row, and for bounds the
ledger's own rule (`ledger.summary.bounds`), which has tests of its own.
"""

from collections import defaultdict
from datetime import datetime
from fractions import Fraction
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from energy_agent.core.boundary import UNBOUNDED, is_gpu, is_host
from energy_agent.core.energy import State
from energy_agent.ledger.rows.kinds import Cell, DeviceFacts, EdgeRow, GapRow, Row, StepRow, TokenRow
from energy_agent.ledger.summary import bounds, cell_bounds
from reports.figures.energy import UNSEEN
from reports.figures.facts import Facts
from reports.period import PeriodRequest, utc_text
from tests.reports.chains import CELL, HOUR, KWH
from tests.reports.random_fleet import DAYS, FIRST
from tests.reports.walk import ZONES, Case, Name, case


def uj(facts: Facts, identity: str) -> int:
    figure = facts.figures[identity]
    if figure.reason == UNSEEN:
        return 0  # nothing was measured, and the rows have nothing
    assert figure.value is not None
    exact = Fraction(figure.value) * 1_000_000
    assert exact.denominator == 1
    return int(exact)


def rounded(facts: Facts, identity: str, exact: Fraction) -> None:
    """The figure is the exact value with nine significant digits."""
    value = facts.figures[identity].value
    assert value is not None, facts.figures[identity].reason
    assert abs(Fraction(value) - exact) * 2 * 10**8 <= abs(exact), (identity, value, float(exact))


periods = st.one_of(
    st.tuples(st.integers(0, DAYS * 96 - 2), st.integers(1, DAYS * 96)).map(
        lambda at: PeriodRequest(None, utc_text(FIRST + at[0] * CELL), utc_text(FIRST + min(at[0] + at[1], DAYS * 96) * CELL))
    ),
    st.sampled_from([PeriodRequest("2026Q3"), PeriodRequest("2026Q4")]),
)


@pytest.mark.smoke
@given(st.integers(0, 1 << 32), periods, st.sampled_from(ZONES), st.booleans())
@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a seed does not shrink
def test_facts_are_those_of_a_walk_over_the_rows(
    tmp_path_factory: pytest.TempPathFactory, seed: int, asked: PeriodRequest, zone: str, orderly: bool
) -> None:
    scenario = case(Random(seed), tmp_path_factory.mktemp("oracle"), asked, zone, orderly=orderly)
    if scenario is None:
        return
    energies(scenario)
    groups(scenario)
    tokens_and_steps(scenario)
    grams_and_money(scenario)
    intervals(scenario, orderly=orderly)
    times(scenario)


def energies(scenario: Case) -> None:
    """Whole devices, buckets, sites; and every joule once."""
    facts = scenario.facts
    cells = [(entry, cell) for entry, cell in scenario.walk.cells()]
    total = sum(cell.energy_uj for _, cell in cells)
    assert uj(facts, "energy.gpu") == total
    for site in ("north", "south"):
        site_rows = [t.row for t in scenario.walk.rows if t.site == site and isinstance(t.row, Cell | EdgeRow | GapRow)]
        if not any(is_gpu(row.device) for row in site_rows):
            assert facts.figures[f"energy.gpu/site/{site}"].reason == "no GPU was metered"
        else:
            assert uj(facts, f"energy.gpu/site/{site}") == sum(c.energy_uj for t, c in cells if t.site == site)
    for name, states in {
        "active": {State.ACTIVE},
        "idle": {State.IDLE},
        "unheld": {State.UNALLOCATED},
        "unattributed": {State.GAP, State.UNKNOWN_OWNER, State.STARTING},
    }.items():
        assert uj(facts, f"energy.gpu.{name}") == sum(c.energy_uj for _, c in cells if c.state in states)
    for state in (State.GAP, State.UNKNOWN_OWNER, State.STARTING):
        by_reason = sum(c.energy_uj for _, c in cells if c.state is state)
        assert uj(facts, f"energy.gpu.unattributed/reason/{state.unattributed_reason}") == by_reason
    parts = sum(uj(facts, i) for i in ("energy.held", "energy.gpu.unheld", "energy.gpu.unattributed"))
    assert parts == total == facts.conservation.device_uj == facts.conservation.cells_uj
    hosts = [cell.energy_uj for _, cell in scenario.walk.cells(is_host)]
    assert (uj(facts, "energy.host") if "energy.host" in facts.figures else 0) == sum(hosts)
    beside = [c.energy_uj for _, c in scenario.walk.cells(lambda d: not is_gpu(d) and not is_host(d))]
    assert (uj(facts, "energy.processors") if "energy.processors" in facts.figures else 0) == sum(beside)


def groups(scenario: Case) -> None:
    """By site, team, project, model and kind, each of which sums to all that was held."""
    facts, states = scenario.facts, (State.ACTIVE, State.IDLE)
    cells = [(entry, cell) for entry, cell in scenario.walk.cells() if cell.state in states]
    beside = [
        (entry, cell) for entry, cell in scenario.walk.cells(is_host) if cell.state in states
    ]  # a node without a GPU, perhaps
    for dimension in ("site", "team", "project", "model", "kind"):
        names = {entry.who[dimension] for entry, _ in [*cells, *beside]}
        of = {f.dims[dimension]: f for f in facts.of("energy.held", dimension)}
        assert set(of) == (set() if names == {""} else names), dimension
        for name in of:
            mine = [c for t, c in cells if t.who[dimension] == name]
            assert uj(facts, f"energy.held/{dimension}/{name}") == sum(c.energy_uj for c in mine)
            active = sum(c.energy_uj for c in mine if c.state is State.ACTIVE)
            assert uj(facts, f"energy.held.active/{dimension}/{name}") == active
            assert uj(facts, f"energy.held.idle/{dimension}/{name}") == sum(c.energy_uj for c in mine) - active
            hours = Fraction(sum(c.gpu_ns for c in mine), HOUR)
            rounded(facts, f"gpu_hours/{dimension}/{name}", hours)
        if of:
            assert sum(uj(facts, f.id) for f in of.values()) == uj(facts, "energy.held")


def tokens_and_steps(scenario: Case) -> None:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for entry in scenario.walk.rows:
        if isinstance(entry.row, TokenRow):
            counts[entry.row.phase, ""] += entry.row.tokens
            counts[entry.row.phase, f"/team/{entry.who['team']}"] += entry.row.tokens
    figures = scenario.facts.figures
    assert {i for i in figures if i.startswith("tokens.") and not (".allocated/" in i or "/model/" in i)} == {
        f"tokens.{p}{s}" for p, s in counts
    }
    for (phase, suffix), tokens in counts.items():
        assert figures[f"tokens.{phase}{suffix}"].text == str(tokens)
        if not suffix:
            assert sum(int(f.value or 0) for f in scenario.facts.of(f"tokens.{phase}", "model")) == tokens
    steps = [t.row.steps for t in scenario.walk.rows if isinstance(t.row, StepRow) and t.row.phase == "training"]
    done = [int(f.dims["steps"]) for f in scenario.facts.by_prefix("training.energy/run/")]
    assert sum(done) <= sum(steps)
    assert not scenario.evidence.sums.steps or sum(
        r.steps for r in scenario.evidence.sums.steps if r.phase == "training"
    ) == sum(steps)


def grams_and_money(scenario: Case) -> None:
    """Grams and money of every part and site, cell by cell, exactly; and of every team as it is printed."""
    worth = {
        site: {t: at.g_per_kwh for at in scenario.pieces[site] for t in range(at.start_ns, at.end_ns, CELL)}
        for site in scenario.pieces
    }
    by_team: dict[str, list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    by_site: dict[str, list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    whole = {site: scenario.evidence.node_gap(site) == "" for site in scenario.pieces}
    for entry, cell in scenario.walk.cells(lambda device: is_gpu(device) or is_host(device)):
        if is_host(cell.device) and not whole[entry.site]:
            continue  # the site's figures cover only the GPUs
        kwh = Fraction(cell.energy_uj, KWH)
        grams, money = kwh * Fraction(worth[entry.site][cell.cell_start_ns]), kwh * coins(cell.cell_start_ns, scenario.zone)
        for into in [by_site[entry.site], *([by_team[entry.who["team"]]] if cell.workload else [])]:
            into[0] += grams
            into[1] += money
    for site, (grams, money) in by_site.items():
        if grams or money:
            rounded(scenario.facts, f"co2e.location/site/{site}", grams)
            rounded(scenario.facts, f"cost/site/{site}", money)
    of = {f.dims["team"]: f for f in scenario.facts.of("co2e.held.location", "team")}
    for name in of:
        rounded(scenario.facts, f"co2e.held.location/team/{name}", by_team[name][0])
        rounded(scenario.facts, f"cost/team/{name}", by_team[name][1])


def coins(t_ns: int, zone: str) -> Fraction:
    """A quarter of a euro from 8 to 20 on weekdays by the clock on the wall, else an eighth."""
    local = datetime.fromtimestamp(t_ns // 10**9, ZoneInfo(zone))
    return Fraction(1, 4) if local.weekday() < 5 and 8 <= local.hour < 20 else Fraction(1, 8)


def intervals(scenario: Case, *, orderly: bool) -> None:
    """Bounds are the ledger's own where rows came in order, and never narrower where they did not."""
    figure = scenario.facts.figures["energy.gpu"]
    rows = [r for r in scenario.walk.order if is_gpu(getattr(r, "device", getattr(r, "uuid", "x")))]
    rows = [r for r in rows if isinstance(r, Cell | EdgeRow | GapRow | DeviceFacts)]
    used = {r.device for r in rows if not isinstance(r, DeviceFacts)}
    uuids = {r.uuid for r in rows if isinstance(r, DeviceFacts)}
    if not used <= uuids:
        assert figure.low is None
        assert figure.high is None
        return
    stated = bounds(rows)
    assert figure.low is not None
    low = int(Fraction(figure.low) * 1_000_000)
    assert stated.energy_uj == uj(scenario.facts, "energy.gpu")
    assert low <= stated.low_uj
    assert low == stated.low_uj or not orderly
    if any(isinstance(row, GapRow) and row.reason.startswith(UNBOUNDED) for row in rows):
        assert figure.high is None
    else:
        assert figure.high is not None
        high = int(Fraction(figure.high) * 1_000_000)
        assert high >= stated.high_uj
        assert high == stated.high_uj or not orderly
    # What workloads held, and what they held while kernels ran: never narrower than the ledger states of each by itself. A gain
    # is rounded up once for a part of the fleet and not for each workload.
    by_workload: dict[Name, list[Row]] = defaultdict(list)
    for told_row in scenario.walk.rows:
        if isinstance(told_row.row, Cell | EdgeRow) and is_gpu(told_row.row.device) and told_row.row.workload:
            by_workload[told_row.cluster, told_row.node, told_row.row.workload].append(told_row.row)
    facts = [row for row in rows if isinstance(row, DeviceFacts)]
    of_held = [bounds([*group, *facts], workload=name[2]) for name, group in by_workload.items()]
    ppm = {row.uuid: row.gain_ppm for row in facts}
    active = [
        cell_bounds([r for r in group if isinstance(r, Cell) and r.state is State.ACTIVE], ppm)
        for group in by_workload.values()
    ]
    for identity, each in (("energy.held", of_held), ("energy.held.active", active)):
        figure = scenario.facts.figures[identity]
        if figure.low is None:
            continue  # a board of a workload states no error
        least = sum(b.energy_uj - b.systematic_uj - b.edge_uj for b in each) + 2 * len(rows)
        most = sum(b.energy_uj + b.systematic_uj + b.edge_uj for b in each) - 2 * len(rows)
        assert Fraction(figure.low) * 1_000_000 <= max(0, least)
        assert figure.high is None or Fraction(figure.high) * 1_000_000 >= most


def times(scenario: Case) -> None:
    """For how long each GPU was metered: its spans less what gaps overlap of them, cell by cell; and what no sensor saw."""
    spans: dict[tuple[str, str, str], dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    unseen: dict[tuple[str, str, str], dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    bound_uj = 0
    for entry in scenario.walk.rows:
        row = entry.row
        if isinstance(row, EdgeRow | GapRow) and is_gpu(row.device) and not getattr(row, "workload", ""):
            at = (row.run.start_ns, row.run.end_ns) if isinstance(row, EdgeRow) else (row.start_ns, row.end_ns)
            (spans if isinstance(row, EdgeRow) else unseen)[entry.cluster, entry.node, row.device][row.cell_start_ns].append(at)
            bound_uj += row.bound_uj if isinstance(row, GapRow) else 0
    wanted = {}
    for device in {*spans, *unseen}:
        metered = 0
        for cell, ones in spans[device].items():
            covered_ns = sum(end - start for start, end in ones)
            overlap = sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in ones for b in unseen[device][cell])
            metered += max(0, covered_ns - overlap)
        wanted[device] = (metered, sum(end - start for cell in unseen[device].values() for start, end in cell))
    rows = scenario.evidence.sums.metered_devices
    assert {(row.cluster, row.node, row.device): (row.metered_ns, row.gap_ns) for row in rows} == wanted
    figures = [f for f in scenario.facts.by_prefix("gap/") if f.dims["class"] == "gpu" and f.high is not None]
    assert sum(Fraction(f.high or 0) for f in figures) * 1_000_000 == bound_uj
