"""The client API: its history as laws, its socket with a real client, and `measure` through it on a process without NVML."""

import http.client
import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.running import AgentProcess
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.units import NS_PER_S
from energy_agent.local_api.history import EnergyHistory, HistoryRow, thinned
from energy_agent.local_api.peers import ClientProcess, Peers
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.owners.processes import ProcessOwner
from energy_agent.runtime.clock import RealClock
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, refusal

T0 = 1_700_000_000 * NS_PER_S


def peer(workload, everything=False):
    return ClientProcess((1, 1), ProcessOwner(workload, WorkloadFacts(workload, 0, "pod")), everything, workload)


def served(path, energy_history):
    return ClientApi(path, Routes(energy_history), Peers([Path("/proc")], RealClock()))


def fetch(path, target):
    """The JSON that the socket answers to one request."""
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(str(path))
        connection = http.client.HTTPConnection("agent")
        connection.sock = end
        connection.request("GET", target)
        return json.loads(connection.getresponse().read())


def answers(path):
    return fetch(path, f"/v1/window/{T0}/{T0 + NS_PER_S}")["devices"]["GPU-1"]["joules"] == 1.0


def history_of(*rows):
    energy_history = EnergyHistory()
    energy_history._rows.extend(rows)
    return energy_history


def history(powers_w):
    """One row a second; `powers_w` of each second."""
    sums = [round(1e6 * sum(powers_w[:k])) for k in range(len(powers_w) + 1)]
    return history_of(*(HistoryRow(T0 + k * NS_PER_S, {"GPU-1": e}, {"GPU-1": 0}, {"GPU-1": 0.05}) for k, e in enumerate(sums)))


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(0, NS_PER_S - 1)), min_size=5, max_size=5),
       st.integers(0, 2_400_000_000), st.integers(100_000_000, 2_500_000_000))  # fmt: skip
def test_the_bound_holds_however_energy_lay_within_the_seconds(seconds, start_ns, length_ns):
    def energy_until(t_ns):  # everything of a second at one instant of it: the worst there is
        return sum(p for k, (p, at_ns) in enumerate(seconds) if k * NS_PER_S + at_ns < t_ns)

    end_ns = start_ns + length_ns
    device = history([p for p, _ in seconds]).window(T0 + start_ns, T0 + end_ns)["devices"]["GPU-1"]
    assert abs(device["joules"] - (energy_until(end_ns) - energy_until(start_ns))) <= device["half_j"] + 1e-3


def test_what_is_not_known_or_not_for_a_workload_is_a_reason():
    energy_history = history([1, 2])
    assert "before" in energy_history.window(T0 - 1, T0 + 5)["reason"]
    assert energy_history.window(T0, T0 + 3 * NS_PER_S)["later"] is True
    assert "ends before" in energy_history.window(T0 + 2, T0 + 1)["reason"]
    assert "no snapshot" in EnergyHistory().window(1, 2)["reason"]
    routes, root, other = Routes(energy_history), peer("process-x-1-1", everything=True), peer("a")
    for who, method, path, status in (
        (root, "POST", "/v1/window/1/2", 405), (root, "GET", "/v1/window/x/2", 404),
        (root, "GET", f"/v1/window/{T0}/{T0 + 3 * NS_PER_S}", 503), (other, "GET", "/v1/workload/a", 403),
        (root, "POST", "/v1/workload/a", 405), (root, "GET", "/v1/workload/a/b", 404),
        (root, "GET", "/v1/workload/ns%2Fpod", 200),
    ):  # fmt: skip
        reply = routes.answer(who, method, path)
        assert reply.status == status, path
    assert json.loads(reply.body)["workload"] == "ns/pod"


class Steered:
    """Steering of one group."""

    def describe_steering(self, workload):
        return {"workload": workload}

    def describe_groups(self):
        return [{"group": "chat"}]

    def request_setting(self, workload, body, place=""):
        raise AssertionError("only read")


def test_all_groups_are_visible_only_to_privileged_clients():
    routes, root, other = Routes(history([1]), None, Steered), peer("process-x-1-1", everything=True), peer("a")
    for who, method, status, body in (
        (root, "GET", 200, {"groups": [{"group": "chat"}]}),
        (other, "GET", 403, {"reason": "only root on the host and the agent's user may read all groups"}),
        (root, "POST", 405, {"reason": "GET"}),
    ):
        reply = routes.answer(who, method, "/v1/dvfs/groups")
        assert (reply.status, json.loads(reply.body)) == (status, body)
    assert Routes(history([1])).answer(root, "GET", "/v1/dvfs/groups").status == 404


def test_workload_gets_only_devices_allocated_for_the_whole_window():
    owners = [{"GPU-1": ("a",), "GPU-2": ("a", "b"), "GPU-3": ("b",)}] * 2 + [{"GPU-1": ("b",), "GPU-2": ("a", "b")}] * 2
    zero = dict.fromkeys(("GPU-1", "GPU-2", "GPU-3"), 0)
    energy_history = history_of(
        *(HistoryRow(T0 + k * NS_PER_S, zero, zero, dict.fromkeys(zero, 0.05), h) for k, h in enumerate(owners))
    )
    whole, begin = (T0, T0 + 3 * NS_PER_S), (T0, T0 + NS_PER_S // 2)
    assert set(energy_history.window(*whole)["devices"]) == {"GPU-1", "GPU-2", "GPU-3"}
    assert set(energy_history.window(*whole, "a")["devices"]) == {"GPU-2"}
    assert set(energy_history.window(*begin, "a")["devices"]) == {"GPU-1", "GPU-2"}
    assert "did not use a GPU" in energy_history.window(*whole, "c")["reason"]
    response = json.loads(Routes(energy_history).answer(peer("a"), "GET", f"/v1/window/{T0}/{T0 + 3 * NS_PER_S}").body)
    assert set(response["devices"]) == {"GPU-2"}


def test_old_rows_become_one_a_minute_and_then_go():
    rows = [HistoryRow(T0 + k * NS_PER_S, {}, {}, {}, boot_ns=k * NS_PER_S) for k in range(3 * 3600)]
    kept = thinned(rows, rows[-1].boot_ns)
    assert 3600 + 115 <= len(kept) <= 3600 + 125
    assert not thinned(rows, 60 * 3600 * NS_PER_S)


def test_missing_folder_is_created_with_restricted_permissions(tmp_path):
    path = tmp_path / "run/client/s"
    api = served(path, EnergyHistory())
    api.start()
    assert [path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777] == [0o666, 0o755]
    api.stop()
    (tmp_path / "file").write_text("")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for place in ("file/s", "open/s", "open/client/s"):
        assert refusal(served(tmp_path / place, EnergyHistory()).start).startswith("client.socket")


@contextmanager
def another(path, backlog=128):
    """Another program that listens there."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(backlog)
        yield
        assert path.is_socket()


def test_a_socket_file_that_was_removed_or_replaced_is_made_again(tmp_path):
    path = tmp_path / "s"
    api = served(path, history([1.0, 1.0]))
    api.start()
    assert api.fault() == ""
    path.unlink()
    assert api.fault()
    api.stop()
    api.start()
    assert (api.fault(), answers(path)) == ("", True)
    path.unlink()
    with another(path):
        assert api.fault()
        api.stop()
        assert path.is_socket()
        assert "another program listens" in refusal(api.start)
    api.start()  # the other one has ended
    assert answers(path)
    api.stop()
    assert not path.exists()


def test_a_socket_of_another_program_or_user_is_left_to_him(tmp_path):
    path = tmp_path / "s"
    with another(path, backlog=0):
        for _ in range(3):  # whether its queue is empty or full
            assert "another program listens" in refusal(served(path, EnergyHistory()).start)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        assert "uid 12345" in refusal(served(path, EnergyHistory()).start)
        assert path.is_socket()
        os.chown(path, 0, -1)
    api = served(path, EnergyHistory())
    api.start()  # what was left behind is removed
    api.stop()
    assert not path.exists()


def test_at_its_end_an_agent_removes_its_own_socket_alone(tmp_path, caplog):
    path = tmp_path / "s"
    api = served(path, EnergyHistory())
    with caplog.at_level("INFO", "wattlens.agent"):
        api.start()
    assert caplog.messages == [f"client socket: {path}"]
    path.rename(tmp_path / "away")  # somebody else's comes to lie there, while ours keeps its inode
    with another(path):
        api.stop()


def test_silent_clients_do_not_keep_others_out_for_long(tmp_path):
    path = tmp_path / "s"
    api = served(path, history([1.0, 1.0]))
    api.start()
    silent = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    try:
        for each in silent:
            each.connect(str(path))
        assert answers(path)
    finally:
        for each in silent:
            each.close()
        api.stop()
    assert not path.exists()


def window(path, clock):
    """Devices of which an agent knows the joules of the second before this one."""
    now_ns = clock.utc_ns()
    try:
        devices = fetch(path, f"/v1/window/{now_ns - 2 * NS_PER_S}/{now_ns - NS_PER_S}").get("devices", {})
    except OSError:
        return []
    return [uuid for uuid, device in devices.items() if device.get("joules") is not None]


def test_a_process_without_nvml_is_answered_by_the_agent(tmp_path):
    node = tmp_path / "node"
    config = tmp_path / "agent.yaml"
    config.write_text(f"client: {{socket: {tmp_path}/agent.sock}}\n")
    with SimulatedNode.start(scenario.parse(b"boards: [{count: 2, sku: H100-SXM5-80GB}]\n", "test"), node):
        agent = AgentProcess(node, tmp_path / "state", config)
        agent.start()
        try:
            eventually(lambda: len(window(tmp_path / "agent.sock", RealClock())) == 2)
            environ = {k: v for k, v in os.environ.items() if k not in ("WATTLENS_SIM", "LD_LIBRARY_PATH")}

            def measured():
                subprocess.run(
                    [sys.executable, "-m", "wattlens", "measure", "--out", tmp_path / "run.json", "--", "sleep", "2"],
                    env=environ | {"WATTLENS_AGENT_SOCKET": f"{tmp_path}/agent.sock"},
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                report = json.loads((tmp_path / "run.json").read_text())
                return report if report["joules"] is not None else None  # an agent on a busy machine may answer too late

            report = eventually(measured)
        finally:
            agent.stop()
    assert (report["method"], report["simulated"], len(report["devices"])) == ("agent", True, 2)
    assert report["lower"] < 2 * 74 * report["seconds"] < report["upper"]  # two idle boards
