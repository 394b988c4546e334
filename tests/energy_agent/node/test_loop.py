"""The agent as a user runs it, on a simulated node: faults while it runs, kills, release, reload, its end."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from energy_agent.core.boundary import JOURNAL_LOST
from energy_agent.ledger.journal.database import FORMAT
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import GapRow
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess, alive, of_device, segments
from tests.energy_agent.ledger.cases import check, set_format
from tests.support import eventually, said_here

pytestmark = pytest.mark.timeout(360)

SCENARIO = """
description: four boards, a training job on one
boards: [{count: 4, sku: H100-SXM5-80GB}]
seed: 5
workloads: [{name: train, kind: training, gpus: [0], step_s: 0.3}]
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "scenario.yaml").write_text(SCENARIO)
    with SimulatedNode.start(scenario.load(str(folder / "scenario.yaml")), folder / "node") as running:
        yield running


@pytest.fixture
def plant(node):
    with node.plant() as attached:
        yield attached
        for gpu in range(attached.count):
            attached.clear(gpu)


@pytest.fixture(scope="module")
def shared_agent(node, tmp_path_factory):
    """For tests after which it runs as before."""
    with AgentProcess(tmp_path_factory.mktemp("shared") / "state", node.directory) as running:
        yield running


@pytest.fixture
def agent(node, shared_agent):
    assert shared_agent.process.poll() is None
    eventually(lambda: sum(ups(shared_agent).values()) == 4)
    return shared_agent


def ups(agent):
    return {dict(labels)["uuid"]: value for labels, value in agent.series("wattlens_gpu_up").items()}


def reasons(agent, uuid):
    info_series = agent.series("wattlens_gpu_absent_info") | agent.series("wattlens_source_down_info")
    return " ".join(dict(labels).get("reason", "") for labels in of_device(info_series, uuid))


def test_faults_while_it_runs_name_their_device_and_cause_and_pass(agent, plant):
    uuids = [plant.uuid(g) for g in range(4)]
    plant.fault(1, "lost")
    plant.fault(2, "hang")
    plant.fault(3, "stuck_sensor")
    eventually(lambda: [ups(agent).get(u) for u in uuids] == [1, 0, 0, 0])
    eventually(lambda: "GPU_IS_LOST" in reasons(agent, uuids[1]))
    eventually(lambda: "hangs" in reasons(agent, uuids[2]))
    eventually(lambda: "stuck" in reasons(agent, uuids[3]))

    def energy():
        series = agent.series("wattlens_gpu_energy_joules_total")
        return [sum(of_device(series, u).values()) if of_device(series, u) else None for u in uuids]

    eventually(lambda: ups(agent) == {uuids[0]: 1, uuids[1]: 0, uuids[2]: 0, uuids[3]: 0})
    before, *_ = eventually(lambda: (j := energy())[0] is not None and j[1:] == [None] * 3 and j)
    eventually(lambda: (energy()[0] or 0) > before)
    for gpu in (1, 2, 3):
        plant.clear(gpu)
    eventually(lambda: sum(ups(agent).values()) == 4)
    for uuid in uuids[1:3]:
        assert uuid in agent.log  # the log named it


def test_an_agent_meters_on_with_a_new_journal_where_it_finds_one_of_another_format(node, tmp_path):
    state = tmp_path / "state"
    with AgentProcess(state, node.directory) as agent:
        eventually(lambda: sum(agent.series("wattlens_gpu_energy_joules_total").values()) > 0)
        assert list(agent.series("wattlens_ledger_journals_moved_aside").values()) == [0]
        assert agent.terminate(60)[0] == 0  # which seals the open hour
    set_format(state / "journal.db", FORMAT + 1)
    with AgentProcess(state, node.directory) as agent:
        before = sum(agent.series("wattlens_gpu_energy_joules_total").values())
        eventually(lambda: sum(agent.series("wattlens_gpu_energy_joules_total").values()) > before > 0)
        assert list(agent.series("wattlens_ledger_journals_moved_aside").values()) == [1]
        aside = f"got {FORMAT + 1}; moved to journal.db.format-{FORMAT + 1}-"
        assert agent.log.count(f"expected journal format {FORMAT}, {aside}") == 1
        bounds = agent.series("wattlens_gpu_energy_gap_bound_joules_total")
        assert len(bounds) == 4
        assert min(bounds.values()) > 0
        assert agent.terminate(60)[0] == 0
    gaps = [each.row for each in read_rows(state) if isinstance(each.row, GapRow)]
    assert {gap.reason for gap in gaps} == {JOURNAL_LOST}
    check(state)


def test_calls_that_are_not_supported_cost_their_field_and_nothing_else(agent, plant):
    uuid = plant.uuid(1)
    plant.fault(1, "not_supported", call="nvmlDeviceGetTemperatureV")
    plant.fault(1, "no_permission", call="nvmlDeviceGetComputeRunningProcesses_v3")
    plant.fault(1, "mig", value=2)
    plant.fault(1, "xid", value=48)
    eventually(lambda: "NOT_SUPPORTED" in reasons(agent, uuid))
    xids = "wattlens_gpu_xid_errors_total"
    eventually(lambda: any(("xid", "48") in labels for labels in of_device(agent.series(xids), uuid)))
    eventually(lambda: ups(agent).get(uuid) == 1 and of_device(agent.series("wattlens_gpu_power_watts"), uuid))
    energy = "wattlens_gpu_energy_joules_total"  # power readings cover the interval of the reset

    def integrated():
        plant.fault(1, "counter_reset")  # again and again: a young counter may pass what was read before it
        return _by_method(agent.series(energy), uuid).get("integrated", 0) > 0

    eventually(integrated, every=1.2)


def _by_method(energy, uuid):
    return {dict(labels)["method"]: value for labels, value in of_device(energy, uuid).items()}


def test_killed_at_any_time_no_counter_falls_and_the_ledger_adds_up(node, plant, tmp_path):
    agent = AgentProcess(tmp_path / "state", node.directory)
    with agent:
        eventually(lambda: sum(ups(agent).values()) == 4)
        highest = agent.counters()
        for kill_reader in (True, False, False):
            if kill_reader:
                os.kill(agent.children()[0], signal.SIGKILL)
            else:
                children = agent.children()
                agent.kill()
                eventually(lambda pids=children: not any(map(alive, pids)))
                agent.start()
            eventually(lambda: sum(ups(agent).values()) == 4)
            now = agent.counters()
            for key, value in highest.items():
                assert now.get(key, value) >= value, key
            highest |= now
        code, children = agent.terminate(within_s=60)
        assert code == 0
        assert not any(map(alive, children))
        assert segments(agent.folder)
        verified = said_here("ledger", "verify", agent.folder)
        assert verified.returncode == 0, verified.stdout + verified.stderr


def total(counters, name):
    return sum(value for (counter, _), value in counters.items() if counter == name)


def rises(agent, name, above):
    eventually(lambda: total(agent.counters(), name) > above)


def test_utc_that_is_set_by_hours_and_days_stops_nothing_and_loses_nothing(node, tmp_path):
    clock = SimulatedClock(node.directory / "plant")
    hour_ns = 3600 * 10**9
    try:
        with AgentProcess(tmp_path / "state", node.directory) as agent:
            for ahead_ns in (hour_ns, 0, -hour_ns, 24 * hour_ns, -24 * hour_ns, 0):
                clock.set_utc(ahead_ns)
                before = agent.counters()
                # Event reasons are part of full readings alone.
                for name in ("wattlens_gpu_energy_joules_total", "wattlens_gpu_clock_event_seconds_total"):
                    rises(agent, name, total(before, name))
                after = agent.counters()
                assert all(after.get(key, value) >= value for key, value in before.items())
            agent.terminate(within_s=60)
            verified = said_here("ledger", "verify", agent.folder)
            assert verified.returncode == 0, verified.stdout + verified.stderr
            assert len(segments(agent.folder)) >= 4
    finally:
        clock.set_utc(0)


def test_a_reader_that_hangs_dies_with_its_agent(node, plant, tmp_path):
    with AgentProcess(tmp_path / "state", node.directory) as agent:
        plant.fault(1, "hang", call="nvmlDeviceGetFieldValues")
        eventually(lambda: ups(agent).get(plant.uuid(1)) == 0)
        children = eventually(agent.children)
        agent.kill()
        eventually(lambda: not any(map(alive, children)))


def test_release_and_return(agent):
    assert said_here("agent", "release", "--for", "10m", "--state", agent.folder).returncode == 0
    eventually(lambda: agent.children() == [])
    eventually(lambda: sum(ups(agent).values()) == 0)
    eventually(lambda: "released on request" in agent.page())
    assert said_here("agent", "resume", "--state", agent.folder).returncode == 0
    eventually(lambda: sum(ups(agent).values()) == 4)


def test_failed_reload_keeps_the_old_config_and_is_reported(node, tmp_path):
    file = tmp_path / "agent.yaml"
    file.write_text("sampling: {period_s: 1}")
    with AgentProcess(tmp_path / "state", node.directory, "--config", file) as agent:
        file.write_text("samplng: {}")
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: agent.series("wattlens_config_last_reload_successful")[()] == 0)
        eventually(lambda: "'samplng'" in agent.log)
        file.write_text("sampling: {period_s: 1}")
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: agent.series("wattlens_config_last_reload_successful")[()] == 1)
        assert agent.process.poll() is None


@pytest.mark.smoke
def test_a_wrong_file_does_not_keep_the_agent_from_starting_again(node, tmp_path):
    file, state = tmp_path / "agent.yaml", tmp_path / "state"
    started = ("agent", "--simulate", node.directory, "--state", state, "--config")

    def result(agent):
        return agent.series("wattlens_config_last_reload_successful")[()]

    file.write_text("samplng: {}")
    first = said_here(*started, file)
    assert (first.returncode, "'samplng'" in first.stderr, first.stderr.count("\n")) == (2, True, 1)  # nothing to start from
    file.write_text("node: {cluster: first}")
    with AgentProcess(state, node.directory, "--config", file) as agent:
        assert result(agent) == 1
    file.write_text("samplng: {}")
    with AgentProcess(state, node.directory, "--config", file) as agent:
        assert result(agent) == 0
        assert 'cluster="first"' in agent.page()
        assert "config.last-good.yaml" in agent.log
        file.write_text("node: {cluster: first}")
        eventually(lambda: result(agent) == 1)
    other = tmp_path / "other.yaml"
    other.write_text("samplng: {}")  # never worked, whatever another file did
    assert said_here(*started, other).returncode == 2


def test_what_the_agent_writes_is_for_its_user_and_group_alone(node, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o755)  # as kubelet and Docker make it
    with AgentProcess(state, node.directory) as agent:
        eventually(lambda: agent.series("wattlens_ledger_commits_total")[()] > 2)
    assert list(state.rglob("*.jsonl.gz"))
    for path in (state, *state.rglob("*")):
        assert not path.stat().st_mode & 0o007, path
        assert path.stat().st_mode & 0o040 or path.suffix in (".lock", ".key"), path
    assert not (state / "signing.key").stat().st_mode & 0o077
    state.chmod(0o777)
    refused = said_here("agent", "--simulate", node.directory, "--state", state)
    assert (refused.returncode, "state folder" in refused.stderr, refused.stderr.count("\n")) == (2, True, 1)


def test_a_state_folder_in_use_is_refused_in_one_line(agent, node):
    again = said_here("agent", "--simulate", node.directory, "--state", agent.folder)
    assert (again.returncode, "in use" in again.stderr, again.stderr.count("\n")) == (2, True, 1)


def test_a_port_that_another_program_has_stops_nothing_else(node, tmp_path):
    path = tmp_path / "client/agent.sock"
    (tmp_path / "agent.yaml").write_text(f"client: {{socket: {path}}}\n")
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    listen = f"127.0.0.1:{taken.getsockname()[1]}"
    command = [sys.executable, "-m", "wattlens", "agent", "--simulate", str(node.directory), "--listen", listen]
    command += ["--state", str(tmp_path / "other"), "--config", str(tmp_path / "agent.yaml")]

    def page():
        try:
            with urllib.request.urlopen(f"http://{listen}/metrics", timeout=60) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        eventually(path.is_socket)
        code = "from energy_agent.runtime.network.agent_socket import ask; print(ask('GET', '/v1/me', within_s=60.0)[0])"
        environ = {**os.environ, "WATTLENS_AGENT_SOCKET": str(path)}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout == "200\n"
        eventually(lambda: "metering continues" in (tmp_path / "log").read_text())
        taken.close()
        # It is tried again after as long as it was taken, and after a minute at most.
        eventually(lambda: 'wattlens_source_up{source="web.listen"} 1' in page(), 120)
        path.unlink()
        eventually(path.is_socket)
        assert process.poll() is None
    finally:
        taken.close()
        process.terminate()
        process.wait(60)


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="this machine has a GPU")
def test_without_a_gpu_it_refuses_in_one_line_that_names_the_flag(tmp_path):
    command = [sys.executable, "-m", "wattlens", "agent", "--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    (line,) = [text for text in ended.stderr.splitlines() if text.startswith("wattlens: ")]
    assert "LIBRARY_NOT_FOUND" in line
    assert "--simulate" in line
