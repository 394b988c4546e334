"""Pages of an agent's counters become entries: by hand, and the law that a device's entries are what its counter rose by."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import Method, State
from energy_agent.core.units import split_integer
from energy_agent.ledger.history_import.wattlens import GAP_TOLD, AgentScrape, AgentScrapeAccount, key_of
from energy_agent.ledger.rows import cells
from energy_agent.ledger.rows.kinds import fold

S = 1_000_000_000
T0 = 1_767_225_600 * S
AGE = 2_500_000_000
J = 1_000_000
GPU, COUNTER, BRIDGED = "GPU-1", Method.COUNTER, Method.BRIDGED
ACTIVE, IDLE = State.ACTIVE, State.IDLE


def total(method=COUNTER, device=GPU):
    return ("total", device, method.value)


def used(workload, state=ACTIVE, method="counter", device=GPU):
    return ("workload", device, workload, state.value, method)


def page(second, values, source=""):
    return AgentScrape(T0 + second * S, values, source)


def recorded_energy(*pages, limits=None):
    account = AgentScrapeAccount(AGE, dict(limits or {}))
    for each in pages:
        account.take(each)
    return account


def sums(account):
    found = Counter()
    for e in account.entries:
        found[e.device, e.workload, e.state, e.method] += e.energy_uj
    return found


def test_what_a_workload_and_nobody_used_is_booked_by_state_and_method():
    account = recorded_energy(
        page(0, {total(): 100 * J, total(BRIDGED): 0, ("idle", GPU): 10 * J, used("a"): 50 * J, used("a", IDLE): 5 * J}),
        page(15, {total(): 190 * J, total(BRIDGED): 7 * J, ("idle", GPU): 30 * J, used("a"): 110 * J, used("a", IDLE): 15 * J,
                  ("unattributed", GPU, "gap"): 7 * J, ("unattributed", GPU, "starting"): 0}),
    )  # fmt: skip
    # Of 90 J by counter 60 + 10 are a's; the other 20 and the 7 bridged are those that nobody held and the gap's.
    assert sums(account) == {
        (GPU, "a", ACTIVE, COUNTER): 60 * J,
        (GPU, "a", IDLE, COUNTER): 10 * J,
        (GPU, "", State.UNALLOCATED, COUNTER): 20 * J,
        (GPU, "", State.GAP, BRIDGED): 7 * J,
    }
    assert account.unexplained_uj == 0


def test_what_the_parts_do_not_explain_is_unattributed_and_what_is_too_much_is_cut():
    account = recorded_energy(page(0, {total(): 0, used("a"): 0}), page(15, {total(): 100 * J, used("a"): 60 * J}))
    assert sums(account) == {(GPU, "a", ACTIVE, COUNTER): 60 * J, (GPU, "", State.GAP, COUNTER): 40 * J}
    assert account.unexplained_uj == 40 * J
    claims = {used("a"): 90 * J, used("b"): 30 * J}
    account = recorded_energy(page(0, {total(): 0, used("a"): 0, used("b"): 0}), page(15, {total(): 100 * J, **claims}))
    assert sums(account) == {(GPU, "a", ACTIVE, COUNTER): 75 * J, (GPU, "b", ACTIVE, COUNTER): 25 * J}
    assert account.unexplained_uj == 20 * J


def test_a_new_series_counts_whole_if_it_fits_and_else_from_the_next_page_on():
    """A workload's series begins at 0 when its holder is seen; one that comes back after days shows all that it ever used."""
    first = page(0, {total(): 1_000 * J})
    account = recorded_energy(first, page(15, {total(): 1_100 * J, used("new"): 90 * J, used("old"): 5_000 * J}),
                     page(30, {total(): 1_200 * J, used("new"): 140 * J, used("old"): 5_050 * J}))  # fmt: skip
    assert sums(account) == {
        (GPU, "new", ACTIVE, COUNTER): 140 * J,
        (GPU, "", State.GAP, COUNTER): 10 * J,
        (GPU, "old", ACTIVE, COUNTER): 50 * J,
    }


def test_tokens_of_a_workload_that_began_while_we_look_count_from_0_and_others_from_their_first_page():
    tokens = ("tokens", "", "{}", "llama", "generation")

    def of(workload):
        return (*tokens[:2], workload, *tokens[3:])

    account = recorded_energy(
        page(0, {total(): 1_000 * J}),
        page(15, {total(): 1_100 * J, used("new"): 90 * J, used("old"): 5_000 * J,
                  used("old", IDLE): 0, of("new"): 70, of("old"): 900, of("cpu"): 40}),
        page(30, {total(): 1_200 * J, used("new"): 140 * J, used("old"): 5_050 * J,
                  of("new"): 100, of("old"): 950, of("cpu"): 45}),
        page(45, {total(): 1_200 * J, of("old"): 20}),  # the agent's count restarted: 20 since then
    )  # fmt: skip
    counts = [(t.workload, (t.start_ns - T0) // S, t.tokens) for t in account.tokens]
    assert counts == [("new", 0, 70), ("cpu", 15, 5), ("new", 15, 30), ("old", 15, 50), ("old", 30, 20)]
    assert {(t.model, t.phase) for t in account.tokens} == {("llama", "generation")}


def test_a_device_that_was_away_is_booked_over_all_of_that_time():
    other = total(device="GPU-2")
    account = recorded_energy(page(0, {total(): 0, other: 0}), page(15, {other: 5 * J}), page(30, {other: 9 * J}),
                     page(3_600, {total(): 80 * J, other: 20 * J}))  # fmt: skip
    assert [(e.device, e.start_ns, e.energy_uj) for e in account.entries if e.device == GPU] == [(GPU, T0, 80 * J)]
    assert sum(e.energy_uj for e in account.entries if e.device == "GPU-2") == 20 * J


def test_a_journal_that_began_anew_is_booked_from_0_and_the_rest_is_a_gap():
    pages = [page(0, {total(): 10**6 * J, used("a"): 10**6 * J}), page(15, {total(): 4 * J, used("a"): 3 * J})]
    account = recorded_energy(*pages, limits={GPU: 840_000})
    assert sums(account) == {(GPU, "a", ACTIVE, COUNTER): 3 * J, (GPU, "", State.GAP, COUNTER): J}
    assert [(g.reason, g.bound_uj) for g in account.gaps] == [("counter reset", 840 * 15_200_000 - 4 * J)]
    account = recorded_energy(*pages)
    assert [(g.reason, g.bound_uj) for g in account.gaps] == [(UNBOUNDED + "counter reset", 0)]


def test_the_agents_own_gaps_stay_gaps():
    bound = ("gap", GPU)
    account = recorded_energy(
        page(0, {total(): 0, bound: 50 * J}), page(15, {total(): J, bound: 50 * J}), page(30, {total(): 2 * J, bound: 75 * J})
    )
    assert [(g.start_ns, g.bound_uj, g.reason) for g in account.gaps] == [(T0 + 15 * S, 25 * J, GAP_TOLD)]


def test_device_time_is_the_workloads_over_the_devices_that_it_used_and_counts_from_0_where_it_is_new():
    held, two, mine, its = ("held", "", "a", "active"), total(device="GPU-2"), used("a"), used("a", device="GPU-2")
    first = page(0, {total(): 0, two: 0, mine: 0, its: 0, held: 100 * S})
    account = recorded_energy(first, page(15, {total(): 10 * J, two: 20 * J, mine: 10 * J, its: 20 * J, held: 124 * S}))
    assert [(e.device, e.gpu_ns) for e in account.entries] == [(GPU, 12 * S), ("GPU-2", 12 * S)]
    account = recorded_energy(page(0, {total(): 0}), page(15, {total(): 10 * J, mine: 10 * J, held: 7 * S}))
    assert [(e.workload, e.gpu_ns) for e in account.entries] == [("a", 7 * S)]


def test_edges_are_the_agents_own_and_the_age_of_a_page():
    account = recorded_energy(page(0, {total(): 0, ("edge", GPU): 9}), page(15, {total(): 1_500 * J, ("edge", GPU): 60 * J}))
    assert [e.edge_uj for e in account.entries] == [60 * J + 250 * J]  # 100 W for 2.5 s
    account = recorded_energy(page(0, {total(): 0}), page(15, {total(): 1_500 * J}), limits={GPU: 840_000})
    assert [e.edge_uj for e in account.entries] == [2_100 * J]  # 840 W for 2.5 s
    integrated = Method.INTEGRATED
    account = recorded_energy(page(0, {total(integrated): 0}), page(15, {total(integrated): 1_500 * J, ("edge", GPU): 60 * J}))
    assert [e.edge_uj for e in account.entries] == [15 * (60 + 250) * J]  # of each second, since those do not cancel


def test_a_replica_whose_clock_is_ahead_is_no_new_journal():
    account = recorded_energy(
        page(0, {total(): 0}, "a"), page(15, {total(): 1_500 * J}, "a"), page(16, {total(): 1_450 * J}, "b"),
                     page(31, {total(): 3_000 * J}, "b"))  # fmt: skip
    assert sum(e.energy_uj for e in account.entries) == 3_000 * J
    assert account.gaps == []
    assert account.seen["older scrapes of another series ignored"] == 1


def test_a_host_is_shared_as_its_workloads_say():
    box = "host:lab:node-1"
    share = ("workload", box, "a", "active", "")
    account = recorded_energy(
        page(0, {total(device=box): 0, total(Method.INTEGRATED, box): 0, share: 0, ("idle", box): 0}),
        page(15, {total(device=box): 60 * J, total(Method.INTEGRATED, box): 40 * J, share: 70 * J, ("idle", box): 30 * J}),
    )
    found = sums(account)
    assert sum(found.values()) == 100 * J
    assert sum(uj for (_, w, _, _), uj in found.items() if w == "a") == 70 * J
    assert sum(uj for (_, _, state, _), uj in found.items() if state is State.UNALLOCATED) == 30 * J
    assert sum(uj for (_, _, _, method), uj in found.items() if method is Method.INTEGRATED) == 40 * J
    assert {e.gpu_ns for e in account.entries} == {0}


HOST, COUNTED = {"domain": "host", "method": "counter"}, {"uuid": "GPU-1", "method": "counter"}


@pytest.mark.parametrize(
    ("series", "labels", "key"),
    [
        ("workload_energy_joules_total", COUNTED | {"exported_workload": "a", "workload": "x", "state": "active"}, used("a")),
        ("node_nongpu_energy_joules_total", HOST, ("total", "host:lab:n", "counter")),
        ("node_nongpu_energy_joules_total", HOST | {"domain": "package-0"}, ("total", "host:lab:n/package-0", "counter")),
        ("gpu_unallocated_energy_joules_total", {"uuid": "GPU-1"}, ("idle", "GPU-1")),
        ("training_steps_total", {"workload": "a", "phase": "training"}, ("steps", "", "a", "training")),
        ("gpu_energy_joules_total", COUNTED | {"uuid": "host:lab:n"}, None),
        ("gpu_energy_joules_total", COUNTED | {"method": "guessed"}, None),
        ("gpu_energy_joules_total", {"method": "counter"}, None),
        ("gpu_power_watts", {"uuid": "GPU-1"}, None),
    ],
)
def test_a_series_is_read_by_what_the_agent_called_it(series, labels, key):
    assert key_of(f"wattlens_{series}", labels, "lab", "n") == key


# Law: whatever parts a page claims, the entries of a device are what its total rose by, method by method.

amounts = st.integers(0, 10**9)
keys = st.one_of(
    st.builds(used, st.sampled_from("abc"), st.sampled_from([ACTIVE, IDLE]), st.sampled_from(["counter", "bridged"])),
    st.just(("idle", GPU)),
    st.sampled_from([("unattributed", GPU, reason) for reason in ("gap", "starting", "unknown_holder")]),
)
rises = st.lists(
    st.tuples(amounts, amounts, st.dictionaries(keys, amounts, max_size=6), st.integers(1, 5_000)), min_size=2, max_size=8
)


@given(rises)
def test_the_entries_of_a_device_are_what_its_counter_rose_by(history):
    account, values, second = AgentScrapeAccount(AGE), {total(): 0, total(BRIDGED): 0}, 0
    account.take(page(0, dict(values)))
    for counter, bridged, parts, seconds in history:
        values = dict(values)
        values[total()] += counter
        values[total(BRIDGED)] += bridged
        for key, uj in parts.items():
            values[key] = values.get(key, 0) + uj
        second += seconds
        account.take(page(second, values))
    by_method = Counter()
    for (_, _, _, method), uj in sums(account).items():
        by_method[method] += uj
    assert +by_method == +Counter({m: values[total(m)] for m in (COUNTER, BRIDGED)})
    folded = fold({}, cells.cell_rows(account.entries))
    assert sum(cell.energy_uj for cell in folded.values()) == values[total()] + values[total(BRIDGED)]
    assert min((e.energy_uj for e in account.entries), default=0) >= 0


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.lists(st.integers(0, 1_000), min_size=3, max_size=3)), min_size=2, max_size=8)
)
def test_an_honest_page_is_taken_over_share_by_share(history):
    """Parts that sum to the total, as the agent's do: each workload has exactly what its counter rose by."""
    names, values, second = [used("a"), used("b"), ("idle", GPU)], {}, 0
    values = dict.fromkeys([total(), *names], 0)
    account = AgentScrapeAccount(AGE)
    account.take(page(0, dict(values)))
    for rise, weights in history:
        values = dict(values)
        values[total()] += rise
        for key, uj in zip(names, split_integer(rise, weights), strict=True):
            values[key] += uj
        second += 15
        account.take(page(second, values))
    found = sums(account)
    assert found.get((GPU, "a", ACTIVE, COUNTER), 0) == values[used("a")]
    assert found.get((GPU, "b", ACTIVE, COUNTER), 0) == values[used("b")]
    assert found.get((GPU, "", State.UNALLOCATED, COUNTER), 0) == values["idle", GPU]
    assert account.unexplained_uj == 0


def test_a_gpu_without_a_sensor_has_its_bound_and_no_energy():
    unseen = ("gap", "GPU-2")
    account = recorded_energy(
        page(0, {total(): 0, unseen: 840 * J}),
        page(15, {total(): 90 * J, unseen: 13_440 * J}),
        page(30, {total(): 180 * J, unseen: 26_040 * J, total(device="GPU-2"): 5 * J}),
        page(45, {total(): 270 * J, unseen: 26_040 * J, total(device="GPU-2"): 95 * J}),
    )
    assert [(gap.device, gap.start_ns, gap.end_ns, gap.bound_uj) for gap in account.gaps] == [
        ("GPU-2", T0, T0 + 15 * S, 12_600 * J),
        ("GPU-2", T0 + 15 * S, T0 + 30 * S, 12_600 * J),
    ]
    assert {device: sum(e.energy_uj for e in account.entries if e.device == device) for device in (GPU, "GPU-2")} == {
        GPU: 270 * J,
        "GPU-2": 90 * J,
    }
