"""The client API: its history as laws, its socket with a real client, and `measure` through it on a process without NVML."""

import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.running import AgentProcess
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S
from energy_agent.local_api.history import History, Row, thinned
from energy_agent.local_api.peers import Peer, Peers
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.owners.processes import Holder
from energy_agent.runtime.clock import RealClock
from tests.support import eventually

T0 = 1_700_000_000 * NS_PER_S


def peer(workload, everything=False):
    return Peer((1, 1), Holder(workload, WorkloadFacts(workload, 0, "pod")), everything, workload)


def served(path, made):
    return ClientApi(path, Routes(made), Peers([Path("/proc")], RealClock()))


def history(powers_w):
    """One row a second; `powers_w` of each second."""
    made, energy = History(), 0
    made._rows.append(Row(T0, {"GPU-1": 0}, {"GPU-1": 0}, {"GPU-1": 0.05}))
    for k, power in enumerate(powers_w, 1):
        energy += round(power * 1e6)
        made._rows.append(Row(T0 + k * NS_PER_S, {"GPU-1": energy}, {"GPU-1": 0}, {"GPU-1": 0.05}))
    return made


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(0, NS_PER_S - 1)), min_size=5, max_size=5),
       st.integers(0, 2_400_000_000), st.integers(100_000_000, 2_500_000_000))  # fmt: skip
def test_the_bound_holds_however_energy_lay_within_the_seconds(seconds, start_ns, length_ns):
    def drawn(t_ns):  # everything of a second at one instant of it: the worst there is
        return sum(p for k, (p, at_ns) in enumerate(seconds) if k * NS_PER_S + at_ns < t_ns)

    end_ns = start_ns + length_ns
    told = history([p for p, _ in seconds]).window(T0 + start_ns, T0 + end_ns)["devices"]["GPU-1"]
    assert abs(told["joules"] - (drawn(end_ns) - drawn(start_ns))) <= told["half_j"] + 1e-3


def test_what_is_not_known_is_a_reason():
    made = history([1, 2])
    assert "before" in made.window(T0 - 1, T0 + 5)["reason"]
    assert made.window(T0, T0 + 3 * NS_PER_S)["later"] is True
    assert "ends before" in made.window(T0 + 2, T0 + 1)["reason"]
    assert "no snapshot" in History().window(1, 2)["reason"]
    routes, root = Routes(made), peer("process-x-1-1", everything=True)
    assert routes.answer(root, "POST", "/v1/window/1/2").status == 405
    assert routes.answer(root, "GET", "/v1/window/x/2").status == 404
    assert routes.answer(root, "GET", f"/v1/window/{T0}/{T0 + 3 * NS_PER_S}").status == 503


def test_a_workload_is_told_of_the_devices_that_it_held_all_the_time():
    made = History()
    held = [{"GPU-1": ("a",), "GPU-2": ("a", "b"), "GPU-3": ("b",)}] * 2 + [{"GPU-1": ("b",), "GPU-2": ("a", "b")}] * 2
    for k, holders in enumerate(held):
        zero = dict.fromkeys(("GPU-1", "GPU-2", "GPU-3"), 0)
        made._rows.append(Row(T0 + k * NS_PER_S, zero, zero, dict.fromkeys(zero, 0.05), holders))
    whole, begin = (T0, T0 + 3 * NS_PER_S), (T0, T0 + NS_PER_S // 2)
    assert set(made.window(*whole)["devices"]) == {"GPU-1", "GPU-2", "GPU-3"}
    assert set(made.window(*whole, "a")["devices"]) == {"GPU-2"}
    assert set(made.window(*begin, "a")["devices"]) == {"GPU-1", "GPU-2"}
    assert "holds no GPU" in made.window(*whole, "c")["reason"]
    told = json.loads(Routes(made).answer(peer("a"), "GET", f"/v1/window/{T0}/{T0 + 3 * NS_PER_S}").body)
    assert set(told["devices"]) == {"GPU-2"}


def test_any_workload_is_told_to_who_may_see_everything():
    routes = Routes(history([1, 2]))
    assert routes.answer(peer("a"), "GET", "/v1/workload/a").status == 403
    told = routes.answer(peer("process-x-1-1", everything=True), "GET", "/v1/workload/ns%2Fpod")
    assert (told.status, json.loads(told.body)["workload"]) == (200, "ns/pod")
    assert routes.answer(peer("a", everything=True), "POST", "/v1/workload/a").status == 405
    assert routes.answer(peer("a", everything=True), "GET", "/v1/workload/a/b").status == 404


def test_old_rows_become_one_a_minute_and_then_go():
    rows = [Row(T0 + k * NS_PER_S, {}, {}, {}, boot_ns=k * NS_PER_S) for k in range(3 * 3600)]
    kept = thinned(rows, rows[-1].boot_ns)
    assert 3600 + 115 <= len(kept) <= 3600 + 125
    assert not thinned(rows, 60 * 3600 * NS_PER_S)


def test_a_missing_folder_is_created_where_nobody_else_can_interfere(tmp_path):
    path = tmp_path / "run/client/s"
    api = served(path, History())
    api.start()
    assert [path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777] == [0o666, 0o755]
    api.stop()
    (tmp_path / "file").write_text("")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for place in ("file/s", "open/s", "open/client/s"):
        with pytest.raises(UsageError, match=r"^client\.socket"):
            served(tmp_path / place, History()).start()


def test_a_socket_file_that_was_removed_or_replaced_is_made_again(tmp_path):
    path = tmp_path / "s"
    api = served(path, history([1.0, 1.0]))
    api.start()
    assert api.fault() == ""

    def answers():
        connection = http.client.HTTPConnection("agent")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("GET", f"/v1/window/{T0}/{T0 + NS_PER_S}")
        reply = json.loads(connection.getresponse().read())
        connection.close()
        return reply["devices"]["GPU-1"]["joules"] == 1.0

    path.unlink()
    assert api.fault()
    api.stop()
    api.start()
    assert (api.fault(), answers()) == ("", True)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert api.fault()
        api.stop()
        assert path.is_socket()
        with pytest.raises(UsageError, match="another program listens"):
            api.start()
    api.start()  # the other one has ended
    assert answers()
    api.stop()
    assert not path.exists()


def test_a_socket_on_which_somebody_listens_is_left_to_him(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        for _ in range(3):  # whether its queue is empty or full
            with pytest.raises(UsageError, match=r"^client\.socket: another program listens on .*$"):
                served(path, History()).start()
        assert path.is_socket()
    api = served(path, History())
    api.start()  # what was left behind is removed
    api.stop()
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket away")
def test_a_socket_of_another_user_is_left_to_him(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    os.chown(path, 12345, -1)
    with pytest.raises(UsageError, match=r"^client\.socket: .* uid 12345.*$"):
        served(path, History()).start()
    assert path.is_socket()


def test_at_its_end_an_agent_removes_its_own_socket_alone(tmp_path, caplog):
    path = tmp_path / "s"
    api = served(path, History())
    with caplog.at_level("INFO", "wattlens.agent"):
        api.start()
    assert caplog.messages == [f"client socket: {path}"]
    path.rename(tmp_path / "away")  # somebody else's comes to lie there, while ours keeps its inode
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        api.stop()
        assert path.is_socket()


def test_silent_clients_do_not_keep_others_out_for_long(tmp_path):
    api = served(tmp_path / "s", history([1.0, 1.0]))
    api.start()
    silent = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    try:
        for each in silent:
            each.connect(str(tmp_path / "s"))
        connection = http.client.HTTPConnection("agent")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(tmp_path / "s"))
        connection.request("GET", f"/v1/window/{T0}/{T0 + NS_PER_S}")
        assert json.loads(connection.getresponse().read())["devices"]["GPU-1"]["joules"] == 1.0
        connection.close()
    finally:
        for each in silent:
            each.close()
        api.stop()
    assert not (tmp_path / "s").exists()


def window(path, clock):
    """Devices of which an agent knows the joules of the second before this one."""
    now_ns = clock.utc_ns()
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(path))
            connection = http.client.HTTPConnection("agent")
            connection.sock = end
            connection.request("GET", f"/v1/window/{now_ns - 2 * NS_PER_S}/{now_ns - NS_PER_S}")
            devices = json.loads(connection.getresponse().read()).get("devices", {})
    except OSError:
        return []
    return [uuid for uuid, device in devices.items() if device.get("joules") is not None]


def test_a_process_without_nvml_is_answered_by_the_agent(tmp_path):
    node = tmp_path / "node"
    config = tmp_path / "agent.yaml"
    config.write_text(f"client: {{socket: {tmp_path}/agent.sock}}\n")
    from energy_agent.sim import scenario
    from energy_agent.sim.node import SimulatedNode

    with SimulatedNode.start(scenario.parse(b"boards: [{count: 2, sku: H100-SXM5-80GB}]\n", "test"), node):
        agent = AgentProcess(node, tmp_path / "state", config)
        agent.start()
        try:
            eventually(lambda: len(window(tmp_path / "agent.sock", RealClock())) == 2)
            environ = {k: v for k, v in os.environ.items() if k not in ("WATTLENS_SIM", "LD_LIBRARY_PATH")}

            def measured():
                done = subprocess.run(
                    [sys.executable, "-m", "wattlens", "measure", "--json", "--", "sleep", "2"],
                    env=environ | {"WATTLENS_AGENT_SOCKET": f"{tmp_path}/agent.sock"},
                    capture_output=True, text=True, timeout=120, check=True,
                )  # fmt: skip
                said = json.loads(done.stderr)
                return said if said["joules"] is not None else None  # an agent on a busy machine may answer too late

            said = eventually(measured)
        finally:
            agent.stop()
    assert (said["method"], said["simulated"], len(said["devices"])) == ("agent", True, 2)
    assert said["low"] < 2 * 74 * said["seconds"] < said["high"]  # two idle boards
