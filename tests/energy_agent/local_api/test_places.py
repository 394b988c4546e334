"""A real client socket that many workloads share."""

import socket
import threading
from contextlib import ExitStack

from energy_agent.core.energy import WorkloadFacts
from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.peers import ClientProcess
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.owners.processes import ProcessOwner


class ManyWorkloads:
    """Each connection is of the workload that the test names next."""

    def __init__(self, names):
        self._names = iter(names)

    def origin(self, _client):
        return ""

    def who(self, _client):
        name = next(self._names)
        return ClientProcess((1, 1), ProcessOwner(name, WorkloadFacts(name, 0, "pod")), False, name)


def test_four_or_a_hundred_workloads_that_only_connect_keep_no_other_out(tmp_path):
    for case, silent in enumerate(([f"pod-{n % 4}" for n in range(64)], [f"pod-{n}" for n in range(100)])):
        path = tmp_path / f"s{case}"
        api = ClientApi(path, Routes(EnergyHistory()), ManyWorkloads([*silent, *["honest"] * 20]))
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
