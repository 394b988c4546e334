"""Whatever dies, hangs or changes hands on a steered node: settings are put back in time, and steering comes back by itself."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvfs.actuator.client import ActuatorClient, ActuatorError
from tests.dvfs.steered_node import FREE, KNEE, STATIC, SteeredNode
from tests.energy_agent.agents import AgentProcess
from tests.support import eventually, said_here

BACK_S = 17.0  # the design allows 15 s; and a look
AGAIN_S = 40.0

FOREIGN = "import pynvml as n; n.nvmlInit(); n.nvmlDeviceSetPowerManagementLimit(n.nvmlDeviceGetHandleByIndex(0), 555000)"

pytestmark = pytest.mark.timeout(360)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SteeredNode]:
    with SteeredNode(tmp_path) as steered_node:
        eventually(steered_node.steered, AGAIN_S)
        yield steered_node


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteeredNode]:
    with SteeredNode(tmp_path_factory.mktemp("shared")) as steered_node:
        yield steered_node


@pytest.fixture
def steady_node(shared_node: SteeredNode) -> SteeredNode:
    """For tests that end with a steered node again."""
    eventually(shared_node.steered, AGAIN_S)
    return shared_node


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    assert pid > 0
    os.kill(pid, number)


@pytest.mark.smoke
def test_agent_sigkill_releases_settings_and_next_start_records_them(node: SteeredNode) -> None:
    node.agent.kill()
    eventually(node.free, BACK_S)
    node.agent.start()
    eventually(node.steered, AGAIN_S)

    # Four sets, two of an agent that was killed before it could commit them or just after, and two that its death put back.
    expected = [("static", "restore", "ok: expired")] * 2 + [("static", "set", "ok: knee")] * 4
    eventually(lambda: sorted(node.actions()) == expected, every=0.5)
    time.sleep(7)  # longer than between two questions to the actuator
    assert sorted(node.actions()) == expected
    node.end_agent()
    assert sorted(node.actions()) == [("static", "restore", "ok: closing")] * 2 + expected


@pytest.mark.smoke
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGSTOP])
def test_an_agent_that_ends_or_freezes_leaves_nothing_set(node: SteeredNode, how: int) -> None:
    kill(node.agent.process.pid, how)
    eventually(node.free, BACK_S)
    if how == signal.SIGSTOP:
        kill(node.agent.process.pid, signal.SIGCONT)
        eventually(node.steered, AGAIN_S)


def test_without_readings_nothing_stays_set(steady_node: SteeredNode) -> None:
    node = steady_node
    kill(eventually(node.reader), signal.SIGSTOP)
    eventually(node.free, BACK_S)
    eventually(node.steered, AGAIN_S)  # a reader that does not answer is replaced
    kill(eventually(node.reader))
    eventually(lambda: node.reader() and node.steered(), AGAIN_S)


@pytest.mark.smoke
def test_a_job_that_dies_is_let_go_and_steered_again_when_it_is_back(node: SteeredNode) -> None:
    was = node.job()
    kill(was)
    eventually(node.free, BACK_S)
    eventually(lambda: node.job() not in (0, was) and node.steered(), AGAIN_S)


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.smoke)])
def test_dead_or_frozen_actuator_worker_restores_and_continues(steady_node: SteeredNode, how: int) -> None:
    def restored() -> int:
        return node.actions().count(("static", "restore", "ok: start"))

    node = steady_node
    was, before = eventually(node.worker), restored()
    kill(was, how)
    eventually(node.free, BACK_S)
    eventually(lambda: node.worker() not in (0, was) and node.steered(), AGAIN_S)
    eventually(lambda: restored() > before, every=0.5)


@pytest.mark.smoke
def test_dead_supervisor_restores_and_next_start_steers_again(node: SteeredNode) -> None:
    kill(node.supervisor)
    node.actuator.wait(60)
    eventually(node.free, BACK_S)
    eventually(lambda: not node.worker(), BACK_S)
    node.start_actuator()
    eventually(node.steered, AGAIN_S)


@pytest.mark.smoke
def test_all_of_the_actuator_dead_and_its_next_start_puts_back(node: SteeredNode) -> None:
    both = node.supervisor, eventually(node.worker)
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that neither sees the other die
        for pid in both:
            kill(pid, number)
    node.actuator.wait(60)
    assert node.steered(), "nobody is left who could put back"
    node.agent.kill()
    node.start_actuator()
    eventually(node.free, BACK_S)


@pytest.mark.smoke
def test_a_driver_that_is_loaded_anew_is_steered_anew(node: SteeredNode) -> None:
    node.node.fault(0, "driver_reload")
    eventually(lambda: node.locks()[0] == FREE, 5)
    eventually(node.steered, AGAIN_S + 20)


@pytest.mark.smoke
def test_after_a_reboot_nothing_is_put_back_that_is_not_there(node: SteeredNode) -> None:
    node.reboot()
    node.start_actuator()
    assert node.free()
    with ActuatorClient(node.folder / "a.sock") as client:
        assert [device["changed"] for device in client.status().devices] == [{}] * 3
    node.agent.start()
    eventually(node.steered, AGAIN_S)
    eventually(lambda: [a for a in node.actions() if a[2].startswith("new_epoch")], every=0.5)


@pytest.mark.smoke
def test_a_limit_that_another_program_sets_is_respected(tmp_path: Path) -> None:
    with SteeredNode(tmp_path, {**STATIC, "budget_w": 700}) as node:
        eventually(lambda: max(node.limits()) < 700_000, AGAIN_S)
        done = node.node.run([sys.executable, "-c", FOREIGN])
        assert done.returncode == 0, done.stderr
        eventually(lambda: node.limits()[:2] == [555_000, 700_000], BACK_S)
        end = time.monotonic() + 8  # longer than the governor waits before it tries again
        while time.monotonic() < end:
            assert node.limits()[0] == 555_000
            time.sleep(0.05)


@pytest.mark.smoke
def test_a_second_agent_gets_nothing(node: SteeredNode, tmp_path: Path) -> None:
    second = AgentProcess(tmp_path / "second", tmp_path / "node", "--config", tmp_path / "agent2.yaml")
    (tmp_path / "agent2.yaml").write_text(
        f"dvfs: {{mode: enforce, actuator: {tmp_path}/a.sock, groups: [{{name: g, devices: ['0', '1']}}], policy: static}}\n"
    )
    with second:
        eventually(lambda: "held" in second.log)
        assert node.steered()
        with ActuatorClient(tmp_path / "a.sock") as client, pytest.raises(ActuatorError, match="wattlens"):
            client.acquire([node.plant.uuid(0)])
    assert node.steered()


def test_the_kill_switch_puts_all_back_until_it_is_taken_back(steady_node: SteeredNode) -> None:
    node = steady_node
    switch: Callable[..., int] = lambda word: said_here("dvfs", word, "--socket", node.folder / "a.sock").returncode  # noqa: E731
    assert switch("off") == 0
    eventually(node.free, 5)
    assert switch("on") == 0
    eventually(node.steered, AGAIN_S)


@pytest.mark.smoke
def test_another_mode_takes_effect_without_a_restart(node: SteeredNode) -> None:
    node.configure({**STATIC, "mode": "shadow"})
    eventually(node.free, BACK_S)
    eventually(lambda: set(node.agent.series("wattlens_dvfs_requested_clock_limit_hertz").values()) == {KNEE[1] * 1e6}, AGAIN_S)
    eventually(lambda: set(node.agent.series("wattlens_dvfs_lease_active").values()) == {0}, 5)
    assert node.free()
    node.configure(STATIC)
    eventually(node.steered, AGAIN_S)


ON_KUBERNETES = """
boards: [{count: 3, sku: H100-SXM5-80GB}]
seed: 4
workloads:
  - {name: train, kind: training, gpus: [0, 1], cgroup: kubepods, step_s: 0.3, memory_boundness: 0.9, host_every_steps: 0,
     checkpoint_every_s: 0, agent_socket: SOCKET}
kubelet:
  api_server: true
  pods: [{name: train-0, namespace: ml, workload: train}]
"""


@pytest.mark.smoke
@pytest.mark.parametrize("who", ["ml/train-0", "node"])
def test_an_annotation_turns_it_off(tmp_path: Path, who: str) -> None:
    with SteeredNode(
        tmp_path, text=ON_KUBERNETES, more={"holders": {"period_s": 1, "kubernetes": {"informer": "auto"}}}
    ) as node:
        eventually(node.steered, AGAIN_S)
        words = tmp_path / "node/kube-api/annotations"
        words.write_text(json.dumps({who: {"wattlens.io/dvfs": "off"}}))
        eventually(node.free, 60)
        words.write_text("{}")
        eventually(node.steered, 60)


HALF_BUSY = """
boards: [{count: 8, sku: H100-SXM5-80GB}]
seed: 4
workloads:
  - {name: train, kind: training, gpus: [0, 1, 2, 3], cgroup: docker, step_s: 0.3, memory_boundness: 0.1, host_every_steps: 0,
     checkpoint_every_s: 0, agent_socket: SOCKET}
"""


@pytest.mark.smoke
def test_a_budget_above_the_power_of_a_half_empty_node_slows_nothing_and_limits_free_gpus(tmp_path: Path) -> None:
    def drawn_w() -> float:
        """Mean power of a second: a GPU exceeds its own limit for some ms when a kernel starts."""
        before = [node.plant.truth(i) for i in range(8)]
        time.sleep(1)
        after = [node.plant.truth(i) for i in range(8)]
        return sum(1000 * (b.true_uj - a.true_uj) / (b.t_ns - a.t_ns) for a, b in zip(before, after, strict=True))

    def are_limited_as_needed() -> bool:
        limits = node.limits()
        return min(limits[:4]) >= 690_000 and max(limits[4:]) <= 300_000

    dvfs = {"mode": "enforce", "auto_groups": True, "policy": "asked", "budget_w": 3200}
    with SteeredNode(tmp_path, dvfs, HALF_BUSY) as node:
        eventually(lambda: are_limited_as_needed() and drawn_w() > 2500, AGAIN_S)
        for _ in range(15):
            assert drawn_w() <= 3200
            assert are_limited_as_needed()
        node.end_agent()
        eventually(lambda: node.limits() == [700_000] * 8, BACK_S)
