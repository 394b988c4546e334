"""Laws of energy from the counters of agents in a Prometheus, for what an agent, its journal and its addresses can do."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S, split_integer
from energy_agent.ledger.rows.kinds import CELL_NS
from tests.doubles.prometheus_history import ScrapedHistory
from tests.support import examples
from tests.wattlens.usage.statements import usage_of
from wattlens.usage.prometheus import read_counters
from wattlens.usage.statement import UNALLOCATED, UNATTRIBUTED, GroupBy

START_NS = 1_782_864_000 * NS_PER_S  # 2026-07-01T00:00:00Z
J = 10**6
TARGET = {"instance": "10.0.0.1:9479", "job": "wattlens"}
INFO = ("node_info", "cluster=lab", "node=n1", "simulated=false")
TOTAL = ("gpu_energy_joules_total", "uuid=GPU-1", "method=counter")
FREE = ("gpu_unallocated_energy_joules_total", "uuid=GPU-1")
LIMIT = ("gpu_power_limit_max_watts", "uuid=GPU-1")
GAIN = ("gpu_energy_gain_uncertainty_ratio", "uuid=GPU-1")
EDGE = ("gpu_energy_edge_uncertainty_joules", "uuid=GPU-1")


def used(name, state="active", uuid="GPU-1"):
    return ("workload_energy_joules_total", f"uuid={uuid}", f"workload={name}", f"state={state}", "method=counter")


def statement_of(*responses, by=GroupBy.WORKLOAD, every_s=15, end_ns=START_NS + CELL_NS, history=None):
    """The statement of responses that a Prometheus scraped one after the other, from the start of the period on."""
    history = history or ScrapedHistory()
    for number, response in enumerate(responses):
        history.scrape(START_NS + (1 + number * every_s) * NS_PER_S, TARGET, {INFO: 1, **response})
    return usage_of(read_counters(history, START_NS, end_ns, {}), by)


def energy_of(usage):
    return {row.key.name: row.energy.energy_uj for row in usage.rows}


CLAIMS = st.one_of(
    st.builds(used, st.sampled_from("abc"), st.sampled_from(("active", "idle"))),
    st.just(FREE),
    st.sampled_from([("gpu_unattributed_energy_joules_total", "uuid=GPU-1", f"reason={each}") for each in ("gap", "starting")]),
)
GROWTH = st.integers(0, 10**4)


@settings(max_examples=examples(60, 15), deadline=None)
@given(st.lists(st.tuples(GROWTH, st.dictionaries(CLAIMS, GROWTH, max_size=6)), min_size=2, max_size=8))
def test_rows_sum_to_the_growth_of_the_total_whatever_parts_claim(growth):
    values = {TOTAL: 7}
    responses = [dict(values)]
    for joules, claims in growth:
        values[TOTAL] += joules
        values |= {key: values.get(key, 0) + claim for key, claim in claims.items()}
        responses.append(dict(values))
    grown_uj = J * (values[TOTAL] - 7)
    if grown_uj:
        usage = statement_of(*responses)
        assert usage.total.energy.energy_uj == sum(energy_of(usage).values()) == grown_uj
        assert all(row.energy.energy_uj >= 0 for row in usage.rows)


@settings(max_examples=examples(40, 15), deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**4), st.lists(st.integers(0, 100), min_size=3, max_size=3)), min_size=2, max_size=8),
    st.integers(0, 10**6),
)
def test_each_workload_has_the_growth_of_its_counter(growth, before):
    """Parts that sum to the total, as an agent's do, of counters that began before the period."""
    names = [used("a"), used("b", "idle"), FREE]
    values = {TOTAL: 3 * before} | dict.fromkeys(names, before)
    responses = [dict(values)]
    for joules, weights in growth:
        values[TOTAL] += joules
        for key, part in zip(names, split_integer(joules, weights), strict=True):
            values[key] += part
        responses.append(dict(values))
    energy = energy_of(statement_of(*responses))
    expected = {name: J * (values[key] - before) for name, key in zip(("a", "b", UNALLOCATED.name), names, strict=True)}
    assert {name: energy.get(name, 0) for name in expected} == expected
    assert UNATTRIBUTED.name not in energy


def test_a_period_begins_with_the_last_value_before_it():
    history = ScrapedHistory()
    for at_s, joules in ((-20, 100), (-5, 200)):
        history.scrape(START_NS + at_s * NS_PER_S, TARGET, {INFO: 1, TOTAL: joules, used("a"): joules, LIMIT: 700})
    usage = statement_of({TOTAL: 1_200, used("a"): 1_200, LIMIT: 700, GAIN: 0}, history=history)
    assert energy_of(usage) == {"a": 1_000 * J}
    assert usage.scope.first_ns == START_NS
    assert (
        usage.total.energy.edge_uj == (2 * 5 + 10) * 420 * J
    )  # 840 W for 2.5 s at both ends, and for the 5 s before the period


def test_a_workload_that_begins_counts_from_0_and_an_older_one_from_its_first_value():
    usage = statement_of(
        {TOTAL: 9_000, used("old"): 5_000},
        {TOTAL: 9_100, used("old"): 5_060, used("new"): 40},
        {TOTAL: 9_200, used("old"): 5_060, used("new"): 140, used("returned"): 8_000},
    )
    assert energy_of(usage) == {"old": 60 * J, "new": 140 * J}


@pytest.mark.parametrize(("limit", "gap_uj"), [({LIMIT: 700}, 840 * J * 15), ({}, None)])
def test_a_new_journal_counts_from_0_with_a_gap(limit, gap_uj):
    usage = statement_of(
        {TOTAL: 100_000, used("a"): 90_000, **limit},
        {TOTAL: 100_500, used("a"): 90_500, **limit},
        {TOTAL: 40, used("a"): 40, **limit},
        {TOTAL: 200_000, used("a"): 200_000, **limit},
        by=GroupBy.GPU,
    )
    (row,) = usage.rows
    assert row.energy.energy_uj == 200_500 * J
    assert (row.energy.gap_uj, row.energy.open) == ((gap_uj, 0) if gap_uj else (0, 1))


def test_a_replica_that_is_behind_is_no_new_journal():
    history = ScrapedHistory()
    for second, joules in ((1, 0), (16, 1_500), (31, 3_000)):
        for replica, behind in (("a", 0), ("b", 50 if second > 1 else 0)):
            target = {**TARGET, "replica": replica}
            history.scrape(START_NS + second * NS_PER_S, target, {INFO: 1, TOTAL: joules - behind})
    usage = statement_of(history=history)
    assert (usage.total.energy.energy_uj, usage.total.energy.gap_uj) == (3_000 * J, 0)


def test_edges_are_the_agents_own_and_the_age_of_a_response():
    usage = statement_of({TOTAL: 0, EDGE: 9}, {TOTAL: 1_500, EDGE: 60})
    assert usage.total.energy.edge_uj == 2 * (60 + 250) * J  # 100 W for 2.5 s
    integrated = ("gpu_energy_joules_total", "uuid=GPU-1", "method=integrated")
    usage = statement_of({integrated: 0, EDGE: 9}, {integrated: 1_500, EDGE: 60})
    assert usage.total.energy.edge_uj == (2 * (60 + 250) + 15 * 60) * J  # of each second, since those do not cancel


def test_a_device_without_the_error_of_its_sensor_has_no_bounds():
    assert statement_of({TOTAL: 0}, {TOTAL: 10}).total.energy.unbounded == 1
    assert statement_of({TOTAL: 0, GAIN: 0}, {TOTAL: 10, GAIN: 0}).total.energy.unbounded == 0


def test_a_gpu_without_a_sensor_has_its_bound_and_no_energy():
    unseen = ("gpu_energy_gap_bound_joules_total", "uuid=GPU-2")
    usage = statement_of({TOTAL: 0, unseen: 840}, {TOTAL: 90, unseen: 13_440}, by=GroupBy.GPU)
    rows = {row.key.name: row.energy for row in usage.rows}
    assert rows["n1 GPU-2"].unseen
    assert rows["n1 GPU-2"].gap_uj == 12_600 * J
    assert usage.total.energy.energy_uj == 90 * J


def test_a_gpu_that_is_away_counts_in_coverage_by_its_scrapes():
    other = ("gpu_energy_joules_total", "uuid=GPU-2", "method=counter")
    both, one = {TOTAL: 1, other: 1}, {TOTAL: 1}
    usage = statement_of({TOTAL: 0, other: 0}, both, one, one)
    assert usage.scope.metered_ns == 45 * NS_PER_S * 3 // 2
    assert usage.scope.coverage == Fraction(45 * 3 // 2 + Fraction(1, 2), 2 * 900)


def test_a_host_is_shared_as_its_counters_say():
    domain = "domain=host"
    host = ("node_nongpu_energy_joules_total", domain, "method=counter")
    share = ("workload_nongpu_energy_joules_total", domain, "workload=a", "state=active")
    package = ("node_nongpu_energy_joules_total", "domain=package-0", "method=counter")
    usage = statement_of(
        {TOTAL: 0, host: 0, share: 0, package: 0, used("a"): 0},
        {TOTAL: 50, host: 100, share: 70, package: 80, used("a"): 50},
    )
    assert usage.scope.whole_nodes
    assert energy_of(usage) == {"a": 120 * J, UNATTRIBUTED.name: 30 * J}


def test_tokens_of_a_new_workload_count_from_0():
    def tokens(name):
        return ("tokens_total", f"workload={name}", "model=llama", "phase=generation")

    usage = statement_of(
        {TOTAL: 9_000, used("old"): 5_000, tokens("old"): 700},
        {TOTAL: 9_100, used("old"): 5_050, used("new"): 50, tokens("old"): 750, tokens("new"): 80},
    )
    assert {row.key.name: dict(row.tokens) for row in usage.rows} == {"old": {"generation": 50}, "new": {"generation": 80}}


def test_the_last_labels_of_a_day_count_and_the_agents_own_pod_is_no_label():
    history = ScrapedHistory()
    target = {**TARGET, "namespace": "monitoring", "pod": "agent-x"}
    history._series[tuple(sorted({"__name__": "up", **target}.items()))] = [(START_NS + NS_PER_S, 1)]
    for second, team in ((1, "red"), (400, "blue"), (800, "blue")):
        labels = ("workload_info", "workload=slurm-7", "kind=slurm", f"team={team}")
        response = {INFO: 1, TOTAL: second, used("slurm-7"): second, labels: 1}
        history.scrape(START_NS + second * NS_PER_S, target, response)
    assert energy_of(statement_of(history=history, by=GroupBy.TEAM)) == {"blue": 799 * J}
    assert energy_of(statement_of(history=history, by=GroupBy.NAMESPACE)) == {"no namespace": 799 * J}


def test_an_address_that_another_node_takes_over_gives_each_node_its_own():
    history = ScrapedHistory()
    second = ("node_info", "cluster=lab", "node=n2", "simulated=false")
    other = ("gpu_energy_joules_total", "uuid=GPU-2", "method=counter")
    for at_s, response in ((1, {INFO: 1, TOTAL: 0}), (16, {INFO: 1, TOTAL: 70}), (31, {second: 1, other: 5_000}),
                           (46, {second: 1, other: 5_010})):  # fmt: skip
        history.scrape(START_NS + at_s * NS_PER_S, TARGET, response)
    assert energy_of(statement_of(history=history, by=GroupBy.NODE)) == {"n1": 70 * J, "n2": 10 * J}


def test_an_agent_with_a_new_address_goes_on_counting():
    history = ScrapedHistory()
    history.scrape(START_NS + NS_PER_S, TARGET, {INFO: 1, TOTAL: 100})
    history.scrape(START_NS + 16 * NS_PER_S, {**TARGET, "instance": "10.0.0.9:9479"}, {INFO: 1, TOTAL: 150})
    assert energy_of(statement_of(history=history, by=GroupBy.NODE)) == {"n1": 50 * J}


def test_a_prometheus_without_agents_is_an_error():
    with pytest.raises(WattlensError, match="no series of Wattlens agents found in this period"):
        read_counters(ScrapedHistory(), START_NS, START_NS + CELL_NS, {})


def test_the_rows_of_two_days_sum_to_the_growth_over_both():
    responses = [{TOTAL: n, used("a"): n} for n in range(0, 97 * 900, 900)]
    usage = statement_of(*responses, every_s=900, end_ns=START_NS + 97 * CELL_NS)
    assert energy_of(usage) == {"a": 96 * 900 * J}
    assert usage.total.energy.edge_uj == 2 * 2_500_000  # 1 W for 2.5 s at both ends, not at midnight
