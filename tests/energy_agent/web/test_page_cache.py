"""A page is built once a snapshot, and ahead of time only for who fetches every one."""

from energy_agent.core.snapshot import Snapshot
from energy_agent.web.page_cache import PageCache
from tests.snapshots import Player


class Builder:
    def __init__(self) -> None:
        self.built: list[int] = []

    def __call__(self, snapshot: Snapshot) -> bytes:
        self.built.append(snapshot.sequence)
        return str(snapshot.sequence).encode()


def test_a_page_nobody_fetched_is_not_built_ahead_again() -> None:
    build = Builder()
    cache = PageCache(build)
    one, two, three, four, five = (Player(gpus=1).at(k) for k in range(1, 6))
    cache.ahead(one)
    assert build.built == []  # nobody ever asked
    assert cache.body(one) == cache.body(one) == str(one.sequence).encode()
    assert build.built == [one.sequence]
    cache.ahead(two)
    assert build.built == [one.sequence, two.sequence]
    assert cache.body(two) == str(two.sequence).encode()
    assert build.built == [one.sequence, two.sequence]  # it was there
    cache.ahead(three)
    cache.ahead(four)  # nobody fetched three
    assert build.built == [one.sequence, two.sequence, three.sequence]
    assert cache.body(four) == str(four.sequence).encode()
    cache.ahead(five)
    assert build.built == [one.sequence, two.sequence, three.sequence, four.sequence, five.sequence]
