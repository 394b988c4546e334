"""`wattlens dvfs sweep` on a simulated node, real agent and actuator, ended and killed in mid-run; truth is the plant's."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from dvfs.actuator.client import ActuatorClient
from dvfs.actuator.core import MAX_TTL_S
from dvfs.replay.table_files import load as load_tables
from dvfs.sweep.profile import REFERENCE, SettingEstimate, SettingInterval, SweepProfile, load
from energy_agent.sim.gpu.plant import Plant
from tests.dvfs.steered_node import SteeredNode
from tests.support import eventually, free_port
from wattlens.sweep.hold import NAME, Hold
from wattlens.sweep.work import StepEnds
from wattlens.top.metrics import parse

RATE, SECONDS, SETTLE_S = 10, 20, 4
UNLOCKED = (0, 0)
State = tuple[tuple[int, int], int]


class Truth:
    """Ground truth of a GPU under each applied setting, sampled continuously."""

    def __init__(self, plant: Plant, gpu: int) -> None:
        self.plant, self.gpu = plant, gpu
        self.rows: list[tuple[State | None, int, int, int]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Truth":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.02):
            t = self.plant.truth(self.gpu)
            at_work = [slot.done_ns for slot in t.slots if slot.live]
            state = (t.locked_mhz, t.power_limit_mw) if at_work else None
            self.rows.append((state, t.t_ns, t.true_uj, sum(at_work)))

    def of(self, state: State, stretches: Sequence[SettingInterval]) -> tuple[float, float]:
        """Return power in W and work per second over the intervals of the state: on a busy machine, the work pauses.

        Raises:
            AssertionError: another setting was applied, or no work was running, within an interval.
        """
        seconds = joules = work = 0.0
        for stretch in stretches:
            rows = [row for row in self.rows if abs(row[1] / 1e9 - stretch.utc_s) <= stretch.seconds / 2]
            assert {row[0] for row in rows} == {state}, stretch
            seconds += (rows[-1][1] - rows[0][1]) / 1e9
            joules += (rows[-1][2] - rows[0][2]) / 1e6
            work += (rows[-1][3] - rows[0][3]) / 1e9
        return joules / seconds, work / seconds


class Rig:
    def __init__(self, node: SteeredNode) -> None:
        self.folder, self.plant, self.actuator = node.folder, node.plant, node.folder / "a.sock"
        self.limit_mw = self.plant.truth(0).power_limit_mw
        self.url = f"http://127.0.0.1:{node.agent.port}"

    def command(self, *arguments: object) -> list[str]:
        places = ("--simulate", self.folder / "node", "--actuator", self.actuator, "--url", self.url)
        return [sys.executable, "-m", "wattlens", "dvfs", "sweep", *map(str, (*places, *arguments))]

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"WATTLENS_AGENT_SOCKET": str(self.folder / "agent.sock")}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments), env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), env=self.environ, capture_output=True, text=True, check=False)

    def resume(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Go on as a user does: a machine that stands still for seconds costs the lease, and the sweep ends with its hint."""
        for _ in range(3):
            done = self.run(*arguments)
            if "continue with --resume" not in done.stderr:
                break
            log = (self.folder / "actuator.log").read_text()
            assert "Traceback" not in log, log
            print(done.stderr, log)
        return done

    def state(self, gpu: int) -> State:
        truth = self.plant.truth(gpu)
        return truth.locked_mhz, truth.power_limit_mw

    def is_original(self, gpu: int) -> bool:
        return self.state(gpu) == (UNLOCKED, self.limit_mw)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("sweep")
    job = {"name": "train", "kind": "training", "gpus": [0], "cgroup": "docker", "step_s": 0.5, "memory_boundness": 0.4}
    quiet = {"intensity": 0.8, "host_every_steps": 0, "checkpoint_every_s": 0, "agent_socket": str(folder / "agent.sock")}
    boards = [{"count": 2, "sku": "H100-SXM5-80GB", "gain": 1.0}]
    text = json.dumps({"boards": boards, "rate": RATE, "seed": 5, "workloads": [job | quiet]})
    rules = [
        {"devices": [gpu], "knobs": knobs, "baseline": "unlocked"} for gpu, knobs in ((0, ["clock"]), (1, ["clock", "power"]))
    ]
    with SteeredNode(folder, {"mode": "observe"}, text, allow=json.dumps({"allow": rules})) as node:
        yield Rig(node)


def compare(profile: SweepProfile, point: SettingEstimate, truth: Truth, rig: Rig) -> None:
    """What was measured against what was: the power, and by how much slower the work went."""
    assert point.slowdown is not None
    clock, limit_w = point.key
    state = ((345, clock) if clock else UNLOCKED, rig.limit_mw if limit_w is None else round(1000 * limit_w))
    stretches = {key: [s for s in profile.stretches if s.key == key] for key in (REFERENCE, point.key)}
    original_w, found_speed = truth.of((UNLOCKED, rig.limit_mw), stretches[REFERENCE])
    power_w, speed = truth.of(state, stretches[point.key])
    print(f"{point.key}: {point.power_w:.1f} W of {power_w:.1f}, {profile.points[0].power_w:.1f} W of {original_w:.1f} before")
    # On a busy machine the readings of energy do not begin and end with those of the work.
    assert point.power_w == pytest.approx(power_w, rel=0.06)
    reference = next(p for p in profile.points if p.key == REFERENCE)
    assert reference.power_w == pytest.approx(original_w, rel=0.06)
    assert point.slowdown.low - 0.03 <= found_speed / speed - 1 <= point.slowdown.high + 0.03


@pytest.mark.smoke
@pytest.mark.timeout(300)
def test_a_sweep_of_a_training_job_that_ctrl_c_ends_goes_on_where_it_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    out = rig.folder / "train.json"
    options = (
        "--gpus",
        0,
        "--clocks",
        "1200",
        "--repeats",
        3,
        "--interval",
        f"{SECONDS}s",
        "--settle",
        f"{SETTLE_S}s",
        "--out",
        out,
    )
    with Truth(rig.plant, 0) as truth:
        with rig.start(*options) as sweep:
            eventually(lambda: out.exists() and len(load(out).stretches) >= 2 and not rig.is_original(0))
            sweep.send_signal(signal.SIGINT)
            output = sweep.communicate()
        assert (sweep.returncode, rig.is_original(0)) == (130, True), output
        assert "continue with --resume" in output[1]
        first = load(out)
        done = rig.resume("--gpus", 0, "--resume", "--json", "--out", out)
    assert (done.returncode, rig.is_original(0)) == (0, True), done.stderr
    profile = load(out)
    assert json.loads(done.stdout) == json.loads(out.read_text())
    assert profile.stretches[: len(first.stretches)] == first.stretches
    sessions = {stretch.session for stretch in profile.stretches}
    assert sessions == set(range(1, max(sessions) + 1)) >= {1, 2}
    (reference, point) = profile.points
    assert (point.key, point.n, reference.key) == ((1200, None), 3, (None, None))
    assert (profile.simulated, profile.work, profile.devices, profile.sku) == (True, "steps", 1, "NVIDIA H100 80GB HBM3")
    assert point.temperature_c is not None
    compare(profile, point, truth, rig)
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", rig.environ["WATTLENS_AGENT_SOCKET"])
    assert StepEnds(profile.workload).sample(parse("", 0.0)) is not None  # so that is what it went by
    (table,) = load_tables(out)
    assert [row.setting for row in table.rows] == [1200.0, 1980.0]
    again = rig.run("--resume", "--out", out)
    assert (again.returncode, "nothing is left to measure" in again.stderr, "1200 MHz" in again.stdout) == (0, True, True)


@pytest.mark.smoke
@pytest.mark.timeout(300)
def test_a_sweep_with_its_own_program_that_is_killed_is_undone_and_goes_on(rig: Rig) -> None:
    out, port = rig.folder / "job.json", free_port()
    program = ("--", sys.executable, "-m", "tests.wattlens.sweep.worker", port, 1)
    counted = ("--work-from", f"http://127.0.0.1:{port}/metrics", "--work-metric", "job_steps_total", "--work", "steps")
    places = ("--gpus", 1, "--out", out, "--warm-up", "1s", "--wait", "30s", *counted)
    plan = ("--clocks", "1005", "--caps", "350", "--repeats", 3, "--interval", f"{SECONDS * 0.4}s", "--settle", f"{SETTLE_S}s")
    with Truth(rig.plant, 1) as truth:
        with rig.start(*places, *plan, *program) as sweep:
            eventually(lambda: out.exists() and len(load(out).stretches) >= 3 and not rig.is_original(1), 60)
            sweep.kill()
            sweep.communicate()
        killed_s = time.monotonic()
        eventually(lambda: rig.is_original(1))
        print(f"restored {time.monotonic() - killed_s:.1f} s after SIGKILL")
        eventually(lambda: not any(slot.live for slot in rig.plant.truth(1).slots))  # the program went with it
        begun = len(load(out).stretches)
        done = rig.resume(*places, "--resume", *program)
    assert (done.returncode, rig.is_original(1)) == (0, True), done.stderr
    profile = load(out)
    assert len(profile.stretches) > begun
    assert {point.key: point.n for point in profile.points if point.slowdown} == {
        (1005, None): 3, (None, 350.0): 3, (1005, 350.0): 3,
    }  # fmt: skip
    for point in profile.points[1:]:
        compare(profile, point, truth, rig)
    capped = next(p for p in profile.points if p.key == (None, 350.0))
    assert "sw_power_cap" in capped.binding
    assert "SAVING" in done.stdout
    assert not any(slot.live for slot in rig.plant.truth(1).slots)
    assert [table.knob for table in load_tables(out)] == ["sm_clock_mhz", "power_limit_w"]


def test_a_device_that_another_holds_is_left_alone(rig: Rig) -> None:
    with ActuatorClient(rig.actuator, name="governor") as client:
        lease = client.acquire([rig.plant.uuid(0)], ttl_s=MAX_TTL_S)
        with rig.start("--gpus", 0, "--out", rig.folder / "held.json") as other:
            while other.poll() is None:  # as a governor does: on a busy machine a sweep takes longer than a lease lasts
                client.heartbeat(lease)
                time.sleep(0.2)
            out, error = other.communicate()
        client.release(lease)
    assert (other.returncode, error.count("\n"), out) == (1, 1, "")
    assert "is leased to governor" in error
    assert "dvfs.mode: observe" in error
    assert not (rig.folder / "held.json").exists()


def test_the_lease_of_a_sweep_that_was_killed_a_moment_ago_is_waited_for(rig: Rig) -> None:
    killed = ActuatorClient(rig.actuator, name=NAME)
    killed.acquire([rig.plant.uuid(0)])
    killed.close()
    with ActuatorClient(rig.actuator, name=NAME) as client, Hold(client, print) as hold:
        hold.lease([rig.plant.uuid(0)])
        assert hold.set((1200, None)) == (1200, None)
    assert rig.is_original(0)


def test_disallowed_knob_is_reported_before_any_measurement(rig: Rig) -> None:
    done = rig.run("--gpus", 0, "--knob", "power", "--out", rig.folder / "power.json")
    assert (done.returncode, done.stderr.count("\n"), rig.is_original(0)) == (1, 1, True)
    assert "allow this knob in the actuator's configuration" in done.stderr
    assert not (rig.folder / "power.json").exists()


def test_a_profile_of_another_workload_is_not_gone_on_with(rig: Rig) -> None:
    out = rig.folder / "other.json"
    document = {
        "schema": 1,
        "workload": "another",
        "sku": "NVIDIA H100 80GB HBM3",
        "driver": "",
        "simulated": True,
        "work": "steps",
        "devices": 1,
    }
    plan = {"settings": [[1005, None]], "repeats": 3, "seconds": 20, "settle_s": 5, "precision_ratio": 0.01, "seed": 1}
    document |= {"sm_clock_max_mhz": 1980, "power_limit_found_w": 700, "points": [], "plan": plan}
    out.write_text(json.dumps(document))
    done = rig.run("--gpus", 0, "--resume", "--out", out)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "got 'another'" in done.stderr
    assert json.loads(out.read_text()) == document


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--gpus", 7), "--gpus: expected one of 0, 1, got '7'"),
        (("--workload", "nobody", "--wait", "1s"), "workload 'nobody' not found"),
        (
            ("--gpus", 0, "--work", "tokens", "--work-from", "http://127.0.0.1:9/", "--work-metric", "x", "--wait", "1s"),
            "no tokens at",
        ),
        (("--gpus", 1, "--wait", "1s"), "no workload on these GPUs"),
        (("--gpus", 0, "--knob", "both", "--caps", "900"), "at most the current power limit"),
    ],
)
def test_missing_requirement_is_reported_in_one_line(rig: Rig, arguments: tuple[object, ...], says: str) -> None:
    for wait in ("1s", "30s"):  # the agent has to be read three times before anything is known to be missing
        waits = ("--wait", wait) if "--wait" in arguments else ()
        done = rig.run(*arguments, *waits, "--out", rig.folder / "none.json")
        if "has not read its GPUs yet" not in done.stderr:
            break
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert (done.stderr.count("\n"), done.stdout) == (1, "")
    assert not (rig.folder / "none.json").exists()
