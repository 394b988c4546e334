"""Joining tokens with energy: nothing is lost or counted twice, whatever the scrapes did."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Method, State
from energy_agent.core.workloads.tokens import TokenDelta
from energy_agent.tokens.energy_per_token import PATIENCE_NS, EnergyPerToken, batch_label

S = 1_000_000_000
BUSY = {"GPU-0": 1.0, "GPU-1": 1.0}


def _entry(start_ns: int, end_ns: int, uj: int, device: str = "GPU-0", state: State = State.ACTIVE) -> Entry:
    return Entry(start_ns, end_ns, device, "chat", state, Method.COUNTER, uj, 0, end_ns - start_ns)


def _served(
    start_ns: int, end_ns: int, generation: int, running: int = 3, restarted: bool = False, model: str = "m", group: str = ""
) -> TokenDelta:
    return TokenDelta(
        start_ns, end_ns, "chat", group, model, "page", True, computed=10, generation=generation, steps=5, running=running,
        restarted=restarted,
    )  # fmt: skip


def _energy(joined: EnergyPerToken) -> int:
    return sum(use.energy_uj for view in joined.views() for use in view.batches.values())


@given(
    st.lists(st.tuples(st.integers(1, 3 * S), st.integers(0, 10**9)), min_size=1, max_size=30),
    st.lists(st.integers(1, 5 * S), min_size=1, max_size=30),
    st.lists(st.integers(0, 600), min_size=30, max_size=30),
)
def test_every_joule_between_two_readings_is_in_one_stretch(
    entries: list[tuple[int, int]], gaps: list[int], running: list[int]
) -> None:
    joined = EnergyPerToken()
    scrapes = [0]
    for gap in gaps:  # a failed scrape is a longer gap
        scrapes.append(scrapes[-1] + gap)
    joined.served(_served(a, b, 1, r) for a, b, r in zip(scrapes, scrapes[1:], running, strict=False))
    at, total, cumulative = 0, 0, [(0, 0)]
    for length, uj in entries:
        joined.add_entries([_entry(at, at + length, uj)], BUSY)
        at, total = at + length, total + uj
        cumulative.append((at, total))
        joined.settle(at)
    joined.settle(max(at, scrapes[-1]) + PATIENCE_NS)
    end = scrapes[-1]
    if end >= at:
        expected = total
    else:
        k = next(i for i, (t, _) in enumerate(cumulative) if t > end)
        (t0, e0), (t1, e1) = cumulative[k - 1], cumulative[k]
        expected = e0 + (e1 - e0) * (end - t0) // (t1 - t0)
    assert _energy(joined) == expected


def test_a_reading_waits_for_the_slowest_device() -> None:
    joined = EnergyPerToken()
    joined.served([_served(1 * S, 2 * S, 7)])
    joined.add_entries([_entry(0, 3 * S, 300), _entry(0, 1 * S, 100, "GPU-1")], BUSY)
    joined.settle(3 * S)
    assert _energy(joined) == 0
    joined.add_entries([_entry(1 * S, 3 * S, 200, "GPU-1")], BUSY)
    joined.settle(3 * S)
    assert _energy(joined) == 100 + 100


def test_a_device_that_was_let_go_is_not_waited_for_without_end() -> None:
    joined = EnergyPerToken()
    joined.served([_served(0, 5 * S, 7)])
    joined.add_entries([_entry(0, 5 * S, 500), _entry(0, 2 * S, 40, "GPU-1")], BUSY)
    joined.settle(6 * S)
    assert _energy(joined) == 0
    joined.settle(5 * S + PATIENCE_NS)
    assert _energy(joined) == 540


def test_energy_and_tokens_by_how_many_ran() -> None:
    joined = EnergyPerToken()
    joined.served([_served(0, S, 10, 1), _served(S, 2 * S, 80, 9), _served(2 * S, 3 * S, 90, 15)])
    for k in range(3):
        joined.add_entries([_entry(k * S, (k + 1) * S, 100 * (k + 1))], BUSY)
    joined.settle(3 * S)
    (view,) = joined.views()
    assert {label: (use.energy_uj, use.generated, use.computed) for label, use in view.batches.items()} == {
        "1": (100, 10, 10),
        "8-15": (500, 170, 20),
    }


@pytest.mark.parametrize(
    "served",
    [
        [_served(0, S, 10), _served(0, S, 1, model="other")],
        [_served(0, S, 10, group="over-nodes")],  # a group may have devices elsewhere
    ],
)
def test_the_energy_of_a_model_among_several_and_of_a_group_is_not_known(served: list[TokenDelta]) -> None:
    joined = EnergyPerToken()
    joined.served(served)
    joined.add_entries([_entry(0, S, 100)], BUSY)
    joined.settle(S)
    assert joined.views() == ()


def test_a_page_that_is_not_read_any_more_is_let_go_and_hides_no_other() -> None:
    joined = EnergyPerToken()
    joined.served([_served(0, S, 10), _served(0, S, 1, model="other")])
    joined.add_entries([_entry(0, S, 100)], BUSY)
    joined.settle(S)
    joined.forget({("chat", "m", "page"), ("chat", "other", "elsewhere")})
    assert [view.model for view in joined.views()] == ["m"]
    joined.forget(())
    assert joined.views() == ()


@pytest.mark.parametrize(("swing", "steady"), [(0, True), (40, False)])
def test_steady_is_a_minute_alike(swing: int, steady: bool) -> None:
    joined = EnergyPerToken()
    steadiness = []
    for k in range(70):
        generated = 100 + swing * (-1) ** (k // 10)
        joined.served([_served(k * S, (k + 1) * S, generated, 8)])
        joined.add_entries([_entry(k * S, (k + 1) * S, 5_000_000 + 10_000 * generated)], BUSY)
        joined.settle((k + 1) * S)
        steadiness.append(next((view.steady for view in joined.views()), None))
    assert steadiness[30] is None
    assert steadiness[-1] is steady


def test_a_window_with_a_restart_in_it_is_left_out_of_the_split() -> None:
    def windows(restart_at: int | None) -> int:
        joined = EnergyPerToken()
        for k in range(40):
            joined.served([_served(k * S, (k + 1) * S, 5, restarted=k == restart_at)])
            joined.add_entries([_entry(k * S, (k + 1) * S, 100)], BUSY)
        joined.settle(40 * S)
        return len(joined._workloads["chat"].endpoints["m", "page"].windows)

    assert windows(None) == 4
    assert windows(15) == 3


@given(st.integers(0, 10_000))
def test_labels_are_few_and_hold_their_number(running: int) -> None:
    label = batch_label(running)
    low, _, high = label.rstrip("+").partition("-")
    assert int(low) <= running
    assert label.endswith("+") or running <= int(high or low)


@pytest.mark.parametrize("step_s", [-3600, -86_400])
def test_after_utc_was_set_back_joules_are_joined_again_at_once(step_s: int) -> None:
    joined, t0 = EnergyPerToken(), 10**6 * S

    def serve(second: int, at_ns: int) -> None:
        joined.served([_served(at_ns, at_ns + S, 1)])
        joined.add_entries([_entry(at_ns, at_ns + S, 7)], BUSY)
        joined.settle(at_ns + S)

    for second in range(10):
        serve(second, t0 + second * S)
    assert _energy(joined) == 70
    joined.restart()
    for second in range(10):
        serve(second, t0 + step_s * S + second * S)
    assert _energy(joined) == 140
