"""The counters of a page from one reading to the next: nothing lost, nothing twice, whatever fails or starts again."""

import itertools
import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.workloads.tokens import Latencies, joined
from energy_agent.core.workloads.training_report import RATE_MAX
from energy_agent.tokens.account import KEPT_LIMIT, TOTALS_LIMIT, EndpointAccount, rows
from energy_agent.tokens.advance import DERIVED
from energy_agent.tokens.reading import EndpointError, EngineReading, ModelReading
from energy_agent.tokens.server_spec import COUNTS
from tests.support import examples

EDGES = (0.1, 1.0)


def account(**more) -> EndpointAccount:
    return EndpointAccount("chat", "chat http://10.0.0.1/metrics", live=True, **more)


def reading(t_ns, *engines, model="m", names=None) -> ModelReading:
    named = {key: key for e in engines for key in (*e.counts, *e.latencies)} if names is None else names
    return ModelReading(t_ns, model, engines, named)


def engine(name="0", **counts) -> EngineReading:
    return EngineReading(name, counts)


@dataclass
class Truth:
    """Engines that count, die and start again, and what of their work a page has shown so far."""

    has_start_time: bool
    counts: list[dict[str, int]] = field(default_factory=list)
    lives: list[int] = field(default_factory=list)
    visible_counts: list[dict[str, int]] = field(default_factory=list)  # of this life
    published: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))

    def start(self, n):
        for _ in range(n):
            self.counts.append(dict.fromkeys(COUNTS, 0))
            self.visible_counts.append(dict.fromkeys(COUNTS, 0))
            self.lives.append(0)

    def work(self, n, by):
        for key, more in zip(COUNTS, by, strict=True):
            self.counts[n][key] += more

    def die(self, n):
        """Restart engine `n`. The account detects it by the start time, or by a counter below its shown value."""
        self.counts[n], self.visible_counts[n] = dict.fromkeys(COUNTS, 0), dict.fromkeys(COUNTS, 0)
        self.lives[n] += 1

    def page(self, t_ns):
        engines = []
        for n, counts in enumerate(self.counts):
            for key in COUNTS:
                self.published[key] += counts[key] - self.visible_counts[n][key]
            self.visible_counts[n] = dict(counts)
            started = 1000.0 + self.lives[n] if self.has_start_time else None
            engines.append(EngineReading(str(n), dict(counts), started_s=started))
        return [reading(t_ns, *engines)]


work = st.tuples(st.just("work"), st.integers(0, 2), st.tuples(*[st.integers(0, 10**6)] * len(COUNTS)))
die = st.tuples(st.just("die"), st.integers(0, 2), st.none())
scrape = st.tuples(st.sampled_from(["scrape", "fail", "agent"]), st.integers(0, 2), st.none())


@settings(max_examples=examples(300))
@given(st.lists(st.one_of(work, die, scrape, scrape), max_size=60))
def test_deltas_sum_to_what_was_published_over_any_failures_and_restarts(events):
    """Failures and restarts of server, engine and agent. With a start time, every engine restart is detected."""
    truth = Truth(has_start_time=True)
    truth.start(3)
    book = account()
    book.feed(truth.page(0), 0)
    before = dict(truth.published)
    deltas = []
    for t_ns, (what, n, by) in enumerate(events, start=1):
        if what == "work":
            truth.work(n, by)
        elif what == "die":
            truth.die(n)
        elif what == "scrape":
            deltas += book.feed(truth.page(t_ns), t_ns)
        elif what == "agent":
            text, book = book.dump(), account()
            book.restore(text)
    for key in COUNTS:
        assert sum(getattr(d, key) for d in deltas) == truth.published[key] - before[key]
    [totals] = book.totals(up=True)
    assert totals.counts == {key: truth.published[key] - before[key] for key in COUNTS}
    assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(deltas))
    assert not deltas or deltas[0].start_ns == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 10**6), st.booleans()), max_size=40))
def test_without_a_start_time_a_restart_is_seen_by_what_fell_and_the_other_engines_go_on(events):
    """An engine that is read after it died, before it has counted as far as before."""
    book, deltas, published, counts = account(), [], 0, [0, 0, 0]
    book.feed([reading(0, *(engine(str(n), generation=0) for n in range(3)))], 0)
    for t_ns, (n, more, dies) in enumerate(events, start=1):
        if dies and counts[n] > 0:
            counts[n] = more % counts[n]
            published += counts[n]
        else:
            counts[n] += more
            published += more
        deltas += book.feed([reading(t_ns, *(engine(str(k), generation=c) for k, c in enumerate(counts)))], t_ns)
    assert sum(d.generation for d in deltas) == published


def test_one_engine_starts_again_while_the_other_goes_on():
    book = account()
    book.feed([reading(1, engine("0", generation=900, prompt=50), engine("1", generation=500, prompt=50))], 1)
    [delta] = book.feed([reading(2, engine("0", generation=10, prompt=60), engine("1", generation=560, prompt=50))], 2)
    assert delta.restarted
    assert delta.generation == 10 + 60
    assert delta.prompt == 60 + 0
    # Its page is away for a while and comes back: nothing is lost, nothing twice.
    [delta] = book.feed([reading(3, engine("1", generation=561, prompt=50))], 3)
    assert (delta.generation, delta.restarted) == (1, False)
    [delta] = book.feed([reading(4, engine("0", generation=12, prompt=60), engine("1", generation=561, prompt=50))], 4)
    assert delta.generation == 2


def test_what_was_done_before_the_first_reading_is_not_ours_and_what_comes_up_later_is():
    book = account()
    assert book.feed([reading(5, engine("0", generation=1000))], 5) == []
    [m, n] = book.feed(
        [
            reading(6, engine("0", generation=1001, requests=3), engine("1", generation=7)),
            reading(6, engine(generation=4), model="n"),
        ],
        6,
    )
    assert (m.generation, m.requests, m.prompt) == (8, 3, None)
    assert (n.model, n.generation, n.start_ns, n.end_ns) == ("n", 4, 5, 6)


def test_tokens_per_request_are_counted_from_the_next_reading_on_after_a_restart_of_the_agent():
    def lengths(count):
        return EngineReading(
            "0", {"requests": count}, latencies={"generation_per_request": Latencies(EDGES, (0, count, 0), 0.5)}
        )

    book = account()
    book.feed([reading(1, lengths(5))], 1)
    [delta] = book.feed([reading(2, lengths(7))], 2)
    assert delta.generation_per_request.counts == (0, 2, 0)
    assert book.totals(up=True)[0].ttft is None
    text, book = book.dump(), account()
    assert "per_request" not in text
    book.restore(text)
    [delta] = book.feed([reading(9, lengths(20))], 9)
    assert (delta.requests, delta.generation_per_request) == (13, None)
    [delta] = book.feed([reading(10, lengths(21))], 10)
    assert delta.generation_per_request.counts == (0, 1, 0)


def test_requests_are_a_phase_of_their_own():
    book = account()
    book.feed([reading(1, engine(generation=10, requests=5))], 1)
    [delta] = book.feed([reading(2, engine(generation=40, requests=7))], 2)
    assert {row.phase: row.tokens for row in rows(delta)} == {"generation": 30, "request": 2}


def test_requests_of_a_prefill_server_end_elsewhere():
    book = account(role="prefill")
    book.feed([reading(1, engine(generation=10, requests=5, computed=80))], 1)
    [delta] = book.feed([reading(2, engine(generation=12, requests=7, computed=180))], 2)
    assert (delta.requests, delta.computed, delta.role) == (0, 100, "prefill")
    assert book.totals(up=True)[0].counts["requests"] == 0


def test_a_value_that_could_not_be_read_is_counted_once_it_can():
    book = account()
    unreadable = EngineReading("0", {"prompt": 9}, unreadable=frozenset({"generation"}))
    book.feed([reading(1, engine("0", generation=100, prompt=9))], 1)
    [delta] = book.feed([reading(2, unreadable)], 2)
    assert (delta.generation, delta.prompt) == (None, 0)
    [delta] = book.feed([reading(3, engine("0", generation=130, prompt=9))], 3)
    assert delta.generation == 30
    # From the start unreadable: where it stood is not known, so the first value is its zero point.
    book = account()
    book.feed([reading(1, unreadable)], 1)
    [delta] = book.feed([reading(2, engine("0", generation=5000, prompt=9))], 2)
    assert delta.generation is None
    [delta] = book.feed([reading(3, engine("0", generation=5001, prompt=9))], 3)
    assert delta.generation == 1


def test_another_name_or_another_rank_is_another_counter():
    book = account()
    late, live = {"generation": "generation_tokens_total"}, {"generation": "realtime_tokens_total"}
    book.feed([reading(1, engine(generation=100), names=late)], 1)
    [delta] = book.feed([reading(2, engine(generation=150), names=live)], 2)
    assert delta.generation is None
    [delta] = book.feed([reading(3, engine(generation=151), names=live)], 3)
    assert delta.generation == 1
    [delta] = book.feed([reading(4, replace(engine(generation=140), rank="1"), names=live)], 4)
    assert (delta.generation, delta.restarted) == (None, False)
    [delta] = book.feed([reading(5, replace(engine(generation=142), rank="1"), names=live)], 5)
    assert delta.generation == 2


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 1)), min_size=1, max_size=20))
def test_computed_is_prompt_less_cached_and_does_not_fall_while_the_two_move_apart(increments):
    """A server that counts a hit of its cache before the prompt."""
    book = account()
    book.feed([reading(0, engine(prompt=500, cached=100))], 0)
    prompt, cached, deltas, t_ns = 500, 100, [], 0
    for more, share in increments:
        cached += int(more * share)
        deltas += book.feed([reading(t_ns + 1, engine(prompt=prompt, cached=cached))], t_ns + 1)
        prompt += more
        t_ns += 2
        deltas += book.feed([reading(t_ns, engine(prompt=prompt, cached=cached))], t_ns)
    assert not any(d.restarted for d in deltas)
    assert all(d.computed >= 0 for d in deltas)
    assert sum(d.computed for d in deltas) == (prompt - cached) - 400
    assert DERIVED in book.dump()


def test_latencies_are_differences_and_other_buckets_are_left_out():
    book = account()
    was, now = Latencies(EDGES, (3, 2, 1), 4.0), Latencies(EDGES, (5, 2, 1), 4.1)

    def page(t_ns, itl):
        return [reading(t_ns, EngineReading("0", {"generation": t_ns}, latencies={"itl": itl}))]

    book.feed(page(1, was), 1)
    assert book.totals(up=True)[0].itl == Latencies(EDGES, (0, 0, 0), 0.0)
    [delta] = book.feed(page(2, now), 2)
    assert delta.itl == Latencies(EDGES, (2, 0, 0), pytest.approx(0.1))
    [delta] = book.feed(page(3, Latencies((0.5, 1.0), (6, 2, 1), 5.0)), 3)
    assert delta.itl is None
    [delta] = book.feed(page(4, Latencies((0.5, 1.0), (7, 3, 1), 6.0)), 4)
    assert delta.itl == Latencies((0.5, 1.0), (1, 1, 0), 1.0)
    # Of the totals the buckets stay that were always there.
    assert book.totals(up=True)[0].itl == Latencies((1.0,), (4, 0), pytest.approx(1.1))


buckets = st.lists(st.sampled_from([0.01, 0.1, 0.5, 1.0, 5.0]), unique=True).map(sorted).map(tuple)


@given(st.lists(buckets.flatmap(lambda e: st.tuples(st.just(e), st.tuples(*[st.integers(0, 99)] * (len(e) + 1)))), max_size=4))
def test_histograms_join_exactly_over_their_common_edges(parts):
    total = joined(Latencies(edges, counts, 1.0) for edges, counts in parts)
    if total is None:
        assert not parts
        return
    assert set(total.edges) == set.intersection(*(set(edges) for edges, _ in parts))
    for n, edge in enumerate(total.edges):
        below = sum(sum(c for e, c in zip(edges, counts, strict=False) if e <= edge) for edges, counts in parts)
        assert sum(total.counts[: n + 1]) == below
    assert total.count == sum(sum(counts) for _, counts in parts)


def test_a_clock_that_steps_back_makes_no_stretch_and_loses_nothing():
    book = account()
    book.feed([reading(100, engine(generation=1))], 100)
    [delta] = book.feed([reading(40, engine(generation=4))], 40)
    assert (delta.start_ns, delta.end_ns, delta.generation) == (40, 40, 3)
    [delta] = book.feed([reading(50, engine(generation=5))], 50)
    assert (delta.start_ns, delta.end_ns, delta.generation) == (40, 50, 1)


def test_what_a_page_may_make_us_keep_is_bounded():
    book = account()
    for n in range(30):
        engines = [engine(str(n * 250 + k), generation=1) for k in range(250)]
        book.feed([reading(n, *engines, model=f"m{n % 3}")], n)
    kept = [name for model in json.loads(book.dump())["models"].values() for name in model["engines"]]
    assert len(kept) == KEPT_LIMIT // 10
    assert {str(29 * 250 + k) for k in range(250)} <= set(kept), "those that are there stay"
    edges = tuple(float(n) for n in range(1, 121))
    many = [
        ModelReading(
            0, f"a{n}", (EngineReading("0", {}, latencies={"ttft": Latencies(edges, (0,) * 121, 0.0)}),), {"ttft": "x"}
        )
        for n in range(64)
    ]
    with pytest.raises(EndpointError, match=f"more than {TOTALS_LIMIT} counters"):
        account().feed(many, 0)
    book = account()
    book.feed([reading(0, engine(generation=1), model=f"a{n}") for n in range(64)], 0)
    with pytest.raises(EndpointError, match="more than 64 models"):
        book.feed([reading(1, engine(generation=1), model="b")], 1)
    assert len(book.totals(up=True)) == 64


S = 10**9


def test_counts_that_no_engine_reaches_are_refused_whole():
    """The rate is per engine, and over the time since the last reading; nothing changes with an absurd one."""
    most = RATE_MAX * 2  # in a second, and the one that rounding may add
    for before, after in (
        ([engine(generation=5)], [engine(generation=5 + most + 1)]),
        ([engine(generation=5)], [engine(generation=2**53)]),
        ([engine(generation=5)], [engine(generation=5, prompt=most + 1)]),  # a counter that comes up
        ([engine("0")], [engine("0"), engine("1", generation=most + 1)]),  # an engine that comes up
        ([engine(generation=most * 9)], [engine(generation=most + 1)]),  # a restart
        ([engine("0", generation=1)], [engine(str(n), generation=most) for n in range(12)]),
        ([engine("0", prompt=1)], [EngineReading("0", {"prompt": 1}, latencies={"ttft": Latencies((), (most + 1,), 1.0)})]),
    ):
        book = account()
        book.feed([reading(0, *before)], 0)
        dump = book.dump()
        with pytest.raises(EndpointError, match="implausible"):
            book.feed([reading(S, *after)], S)
        assert book.dump() == dump
        [delta] = book.feed([reading(S, *before)], S)  # what it counted before, again
        assert not delta.generation
    book = account()
    book.feed([reading(0, engine(generation=5))], 0)
    [delta] = book.feed([reading(S, engine(generation=5 + most))], S)
    assert delta.generation == most


def test_rate_is_of_the_time_that_passed_whatever_utc_does():
    book = account()
    book.feed([reading(0, engine(generation=0))], 0)
    with pytest.raises(EndpointError, match="implausible"):
        book.feed([reading(3600 * S, engine(generation=RATE_MAX * 100))], 3600 * S, 1.0)
    [delta] = book.feed([reading(-3600 * S, engine(generation=RATE_MAX * 100))], -3600 * S, 100.0)
    assert delta.generation == RATE_MAX * 100
    book.feed([reading(10 * S, engine(generation=RATE_MAX * 100))], 10 * S)
    [delta] = book.feed([reading(0, engine(generation=RATE_MAX * 3700))], 0)  # restarted, and the clock was set back: not known
    assert delta.generation == RATE_MAX * 3600


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "{}", '{"version":1}', '{"version":2,"read_ns":-1,"models":{}}', "[" * 100_000,
        '{"version":2,"read_ns":1,"models":{"m":{"engines":{},"names":{},"counts":{"generation":-5},"latencies":{},"read_ns":1}}}',
        '{"version":2,"read_ns":1,"models":{"m":{"engines":{},"names":{},"counts":{"other":5},"latencies":{},"read_ns":1}}}',
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_refused_whole(text):
    book = account()
    book.feed([reading(1, engine(generation=3))], 1)
    before = book.dump()
    with pytest.raises(ValueError, match="not the counters of a metrics endpoint"):
        book.restore(text)
    assert book.dump() == before
