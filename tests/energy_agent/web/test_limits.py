"""Laws of the token buckets and of the places for connections, and who is behind an address."""

import math
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.web.limits import KEYS, Buckets, ClientConnection, ConnectionSlots, owner_of


@given(st.floats(0.1, 100), st.integers(1, 20), st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5)), max_size=60))
def test_a_bucket_never_gives_more_than_its_burst_and_rate_and_is_full_after_a_while(per_s, burst, steps):
    now_s, given_out = [0.0], {"a": 0, "b": 0}
    buckets = Buckets(per_s, burst, lambda: now_s[0])
    for key, step in steps:
        now_s[0] += step
        wait_s = buckets.take(key)
        assert 0 <= wait_s <= 1 / per_s + 1e-9
        given_out[key] += not wait_s
        assert given_out[key] <= burst + now_s[0] * per_s + 1e-6
    now_s[0] += burst / per_s + 1e-6
    assert [buckets.take("a") for _ in range(burst)] == [0.0] * burst
    assert buckets.take("a") > 0


def test_keys_are_remembered_in_bounded_number_and_the_last_used_ones_first():
    buckets = Buckets(1, 1, lambda: 0.0)
    for k in range(5 * KEYS):
        assert buckets.take("kept") == float(k > 0)
        assert buckets.take(f"x{k}") == 0
    assert buckets.take(f"x{5 * KEYS - 1}") > 0
    assert buckets.take("x0") == 0


class Silent(ClientConnection):
    """A connection that notes its end."""

    ended: list[ClientConnection]

    def __init__(self, owner, ended):
        super().__init__(None, owner)
        self.ended = ended

    def hang_up(self):
        self.ended.append(self)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.booleans()), max_size=60))
def test_no_owner_has_more_than_its_share_and_a_newcomer_finds_a_place_while_others_wait(arrivals):
    places, ended, inside = ConnectionSlots(8, 3), [], []
    for number, (owner, is_served, proven) in enumerate(arrivals):
        counts = {o: sum(c.owner == o for c in inside) for o in "abcdef"}
        new = Silent(owner, ended)
        is_owner_full = counts[owner] >= 3
        rivals = [c for c in inside if c.since_s < math.inf and (c.owner == owner or not is_owner_full)]
        is_full = is_owner_full or len(inside) >= 8
        assert places.enter(new) == (bool(rivals) or not is_full)
        assert len(ended) == (is_full and bool(rivals))
        for loser in ended:
            assert loser in rivals
            rank = [(c.proven, -counts[c.owner], c.since_s) for c in rivals]
            assert (loser.proven, -counts[loser.owner], loser.since_s) == min(rank)
            inside.remove(loser)
        if rivals or not is_full:
            inside.append(new)
        ended.clear()
        new.proven, new.since_s = proven, math.inf if is_served else float(number)
        assert len(inside) <= 8
        assert max((sum(c.owner == o for c in inside) for o in "abcdef"), default=0) <= 3


def test_leaving_frees_the_slot_and_closes_the_socket():
    places = ConnectionSlots(1, 1)
    ours, theirs = socket.socketpair()
    with theirs:
        first = ClientConnection(ours, "a", since_s=math.inf)
        assert places.enter(first)
        assert not places.enter(ClientConnection(ours, "b"))
        places.leave(first)
        assert theirs.recv(1) == b""
        assert places.enter(ClientConnection(ours, "b"))


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_owner_of_an_address(address, owner):
    assert owner_of(address) == owner
