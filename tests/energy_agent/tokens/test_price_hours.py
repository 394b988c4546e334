"""Energy and tokens by the hour: each joule in one hour, final once the hour is over, pools of a group as one engine."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Method, State
from energy_agent.core.workloads.request_quantiles import POOLS
from energy_agent.core.workloads.token_price import EngineHour, RequestTokens
from energy_agent.core.workloads.tokens import Latencies, TokenDelta
from energy_agent.tokens.price_hours import HOUR_NS, PATIENCE_NS, PriceHours, SensorError

S = 10**9
START = 100 * HOUR_NS
ERRORS = {"GPU-0": SensorError(0.05, 1_000), "GPU-1": SensorError(0.02, 3_000)}


def entry(at_s: float, energy_uj: int, workload: str = "chat", device: str = "GPU-0", state: State = State.ACTIVE) -> Entry:
    start_ns = START + round(at_s * S)
    return Entry(start_ns, start_ns + S, device, workload, state, Method.COUNTER, energy_uj, S)


def row(at_s: float, computed: int, generated: int, workload: str = "chat", group: str = "") -> TokenDelta:
    start_ns = START + round(at_s * S)
    return TokenDelta(
        start_ns,
        start_ns + S,
        workload,
        group,
        "m",
        "page",
        live=True,
        prompt=computed,
        cached=0,
        computed=computed,
        generation=generated,
    )


def filled(entries: list[Entry], rows: list[TokenDelta], engines: dict[str, str], now_s: float) -> tuple[EngineHour, ...]:
    hours = PriceHours()
    hours.add(entries, rows, engines)
    hours.settle(START + round(now_s * S), (), ERRORS)
    return hours.views(ERRORS)


@given(st.lists(st.tuples(st.integers(0, 7_300), st.integers(0, 10**9), st.sampled_from(list(State))), max_size=40))
def test_each_joule_is_in_one_hour(parts: list[tuple[int, int, State]]) -> None:
    entries = [entry(at_s, uj, state=state) for at_s, uj, state in sorted(parts, key=lambda part: part[0])]
    hours = PriceHours()
    for each in entries:  # one commit each
        hours.add([each], [], {"chat": "chat"})
        hours.settle(each.end_ns, (), ERRORS)
    views = hours.views(ERRORS)
    assert sum(v.active_uj for v in views) == sum(e.energy_uj for e in entries if e.state is not State.IDLE)
    assert sum(v.idle_uj for v in views) == sum(e.energy_uj for e in entries if e.state is State.IDLE)
    assert len({(v.engine, v.start_ns // HOUR_NS) for v in views}) == len(views)


def test_an_hour_is_open_until_energy_and_tokens_of_the_next_one_are_here() -> None:
    first = [entry(10, 100)], [row(10, 5, 7)]
    (view,) = filled(*first, {"chat": "chat"}, 3_500)
    assert (view.final, view.usage) == (False, RequestTokens(5, 0, 7))
    both = [*first[0], entry(3_601, 50)], [*first[1], row(3_601, 1, 1)]
    done, still = filled(*both, {"chat": "chat"}, 3_610)
    assert (done.final, done.active_uj, still.final, still.active_uj) == (True, 100, False, 50)


def test_an_hour_without_a_next_reading_is_final_after_a_minute() -> None:
    (view,) = filled([entry(10, 100)], [row(10, 5, 7)], {"chat": "chat"}, 3_600 + PATIENCE_NS / S)
    assert view.final


def test_what_comes_after_an_hour_is_final_changes_it_no_more() -> None:
    hours = PriceHours()
    hours.add([entry(10, 100)], [row(10, 5, 7)], {"chat": "chat"})
    hours.settle(START + 2 * HOUR_NS, (), ERRORS)
    before = hours.views(ERRORS)
    hours.add([entry(20, 999)], [], {"chat": "chat"})
    assert hours.views(ERRORS) == before


def test_pools_of_a_group_are_one_engine_and_other_workloads_none() -> None:
    entries = [entry(1, 100, "prefill"), entry(1, 40, "decode", "GPU-1"), entry(1, 7, "train", "GPU-1")]
    (view,) = filled(entries, [row(1, 5, 7, "decode", "pd")], {"prefill": "pd", "decode": "pd"}, 10)
    assert (view.engine, view.active_uj) == ("pd", 140)
    assert (view.gain_ratio, view.edge_uj) == (0.05, 2 * 4_000)


def test_requests_of_separate_pools_have_no_quantiles_on_one_node() -> None:
    pool = replace(
        row(1, 5, 7, "decode", "pd"), requests=3, role="decode", generation_per_request=Latencies((5.0,), (3, 0), 7.0)
    )
    (view,) = filled([entry(1, 100, "decode")], [pool], {"decode": "pd"}, 10)
    assert (view.requests, view.outputs, view.no_lengths) == (None, None, POOLS)
    (alone,) = filled([entry(1, 100, "decode")], [replace(pool, role="")], {"decode": "pd"}, 10)
    assert (alone.requests, alone.outputs) == (3, pool.generation_per_request)


def test_an_engine_without_energy_has_no_hour() -> None:
    assert filled([], [row(1, 10, 100)], {"chat": "chat"}, 10) == ()
    assert filled([], [row(1, 10, 100)], {"chat": "chat"}, 3 * 3600) == ()
    (hour,) = filled([entry(1, 10**6)], [row(1, 10, 100)], {"chat": "chat"}, 10)
    assert (hour.active_uj, hour.usage.generated) == (10**6, 100)
