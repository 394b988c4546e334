"""A page is built once per snapshot, by the first scrape that asks for it."""

from energy_agent.runtime.clock import RealClock
from energy_agent.web.http1 import Request
from energy_agent.web.page_cache import PageCache
from energy_agent.web.pages import Pages
from tests.snapshots import Player


def test_each_snapshot_is_built_once_and_only_when_it_is_fetched() -> None:
    built = []
    cache = PageCache(lambda snapshot: built.append(snapshot.sequence) or str(snapshot.sequence).encode())
    one, unfetched, three = (Player(gpus=1).at(k) for k in range(1, 4))
    assert [cache.body(each) for each in (one, one, three, three)] == [b"%d" % s.sequence for s in (one, one, three, three)]
    assert built == [one.sequence, three.sequence]
    assert unfetched.sequence not in built


def test_a_snapshot_that_cannot_be_rendered_is_an_answer_and_the_next_one_is_shown() -> None:
    bad, good = (Player(gpus=1).at(k) for k in (1, 2))
    snapshots = [good, bad]

    def render(snapshot, _):
        return {good.sequence: b"page"}[snapshot.sequence]

    pages = Pages(lambda: snapshots.pop(), RealClock(), float("inf"), render)
    request = Request("GET", "/metrics", {}, close=True)
    assert [pages.answer(request).status for _ in range(2)] == [500, 200]
