"""Places of the client socket: laws of who is let in, and a real socket that many workloads share."""

import socket
import threading
from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import WorkloadFacts
from energy_agent.local_api.history import History
from energy_agent.local_api.peers import Peer
from energy_agent.local_api.places import ARRIVALS_AT_ONCE, BURST_S, Connection, Places
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.owners.processes import Holder


def connection(owner, ended):
    made = Connection(owner, lambda: ended.append(made))
    return made


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60))
def test_no_owner_has_more_than_its_share_and_a_newcomer_always_finds_a_place_while_others_wait(arrivals):
    places, ended, inside = Places(8, 3), [], []
    for owner, is_answered in arrivals:
        counts = {o: sum(c.owner == o for c in inside) for o in "abcdef"}
        waiting = [c for c in inside if c.since_s != float("inf")]
        new = connection(owner, ended)
        entered = places.enter(new)
        assert entered == (counts[owner] < 3 and (len(inside) < 8 or bool(waiting)))
        if not entered:
            continue
        for loser in ended:
            assert loser in waiting
            assert counts[loser.owner] == max(counts[c.owner] for c in waiting)  # nobody who has less than another gives way
            inside.remove(loser)
        ended.clear()
        inside.append(new)
        if is_answered:
            new.answering()
        assert len(inside) <= 8


def test_the_longest_waiting_connection_of_the_greediest_owner_gives_way():
    places, ended = Places(4, 3), []
    connections = [connection(owner, ended) for owner in "abba"]
    connections.append(connection("c", ended))
    for number, each in enumerate(connections):
        each.since_s = float(number)
        assert places.enter(each)
    assert ended == [connections[0]]
    places.leave(connections[1])
    assert places.enter(connection("d", ended))
    assert len(ended) == 1


def test_each_owner_has_its_own_number_of_requests_and_connections():
    places = Places()
    for may, at_once in ((places.may_ask, int(BURST_S)), (places.may_connect, int(ARRIVALS_AT_ONCE))):
        allowed = [may("a") for _ in range(at_once * 2)]
        assert allowed[:at_once] == [True] * at_once
        assert not all(allowed)
        assert may("b")


class ManyWorkloads:
    """Each connection is of the workload that the test names next."""

    def __init__(self, names):
        self._names = iter(names)

    def origin(self, _client):
        return ""

    def who(self, _client):
        name = next(self._names)
        return Peer((1, 1), Holder(name, WorkloadFacts(name, 0, "pod")), False, name)


def test_four_or_a_hundred_workloads_that_only_connect_keep_no_other_out(tmp_path):
    for case, silent in enumerate(([f"pod-{n % 4}" for n in range(64)], [f"pod-{n}" for n in range(100)])):
        path = tmp_path / f"s{case}"
        api = ClientApi(path, Routes(History()), ManyWorkloads([*silent, *["honest"] * 20]))
        api.start()
        with ExitStack() as stack:
            stack.callback(api.stop)
            for _ in silent:
                stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
            for _ in range(20):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))  # waits where the kernel's queue is full
                    client.settimeout(60)
                    client.sendall(b"GET /v1/other HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert b" 404 " in client.recv(4096)
        assert threading.active_count() < 100
