"""The actuator as real processes on the simulated node: whatever is killed, what was found comes back. Truth is the plant's."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dvfs.actuator.client import ActuatorClient, ActuatorError
from dvfs.actuator.watch import SILENCE_S
from dvfs.actuator.wire import MAX_BYTES, encode
from dvfs.types import Setting
from energy_agent.core.errors import LeaseError
from energy_agent.runtime.clock import SimulatedClock
from tests.dvfs.conftest import Rig
from tests.support import Said, eventually, said_here

pytestmark = pytest.mark.timeout(360)

# 10 s of lease or 5 s of grace, a tick, and the time limit of a child.
BACK_S = 15.0


@pytest.mark.parametrize(
    "order",
    [
        ["client"],
        ["worker"],
        ["supervisor"],
        ["worker", "supervisor"],
        ["client", "supervisor", "worker"],
        pytest.param(["supervisor", "worker"], marks=pytest.mark.proof),
        pytest.param(["client", "worker"], marks=pytest.mark.proof),
        pytest.param(["worker", "client", "supervisor"], marks=pytest.mark.proof),
    ],
    ids="-".join,
)
def test_kill_9_of_anything_brings_back_what_was_found(rig: Rig, order: list[str]) -> None:
    client = rig.hold(*rig.uuids, ttl_s=4)
    eventually(rig.changed, 5)
    pids = {"client": client.pid, "worker": rig.first_worker, "supervisor": rig.actuator.pid}
    for name in order:
        try:
            os.kill(pids[name], signal.SIGKILL)
        except ProcessLookupError:
            assert name == "worker"  # it has restored and ended already, since its supervisor went first
    if {"worker", "supervisor"} <= set(order):
        rig.actuator.wait(60)
        done = eventually(lambda: (r := rig.restore()).returncode == 0 and r, BACK_S)
        assert json.loads(done.stdout)["clean"]
    eventually(rig.back, BACK_S)
    if order == ["worker"]:
        assert eventually(rig.worker, BACK_S) != rig.first_worker


def test_next_start_reconciles_after_both_were_killed(rig: Rig) -> None:
    rig.hold(*rig.uuids)
    rig.kill_all()
    eventually(rig.changed, 5)
    rig.start()
    eventually(rig.back, 5)


@pytest.mark.parametrize(("who", "ttl_s"), [("client", 4), ("worker", 10)])
def test_frozen_client_loses_its_lease_and_frozen_worker_is_replaced(rig: Rig, who: str, ttl_s: int) -> None:
    client = rig.hold(*rig.uuids, ttl_s=ttl_s)
    os.kill(client.pid if who == "client" else rig.first_worker, signal.SIGSTOP)
    eventually(rig.back, BACK_S)
    if who == "worker":
        assert eventually(rig.worker, BACK_S) != rig.first_worker


@pytest.mark.parametrize("first", ["supervisor", pytest.param("worker", marks=pytest.mark.smoke)])
def test_a_pause_of_the_whole_machine_replaces_no_worker(rig: Rig, first: str) -> None:
    """Whichever of the two runs first afterwards has heard nothing of the other for long."""
    pids = {"supervisor": rig.actuator.pid, "worker": rig.first_worker}
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    time.sleep(SILENCE_S + 1.5)
    os.kill(pids.pop(first), signal.SIGCONT)
    time.sleep(0.7)  # more than a round of each
    os.kill(pids.popitem()[1], signal.SIGCONT)
    assert eventually(rig.worker, BACK_S) == rig.first_worker


def test_sigterm_restores_and_exits_0(rig: Rig) -> None:
    rig.hold(*rig.uuids)
    assert rig.stop() == 0
    eventually(rig.back, 5)
    assert not rig.socket.exists()


def test_the_command_turns_the_switch_off_and_on(make_rig: Callable) -> None:
    """Off restores everything before it returns, prints the path of the switch, and refuses requests until on.

    It also works without a file that sets the path.
    """
    rig = make_rig()

    def switch(word: str, *more: object) -> Said:
        return said_here("dvfs", word, "--socket", rig.socket, "--state", rig.folder / "state", *more)

    early = switch("off")
    assert (early.returncode, (rig.folder / "state/dvfs.off").exists()) == (0, True)
    assert "No actuator responds" in early.stdout
    rig.start()
    with ActuatorClient(rig.socket) as client:
        with pytest.raises(ActuatorError, match="kill switch"):
            client.acquire(rig.uuids)
        assert switch("on").returncode == 0
    rig.hold(*rig.uuids)
    eventually(rig.changed, 5)
    off = switch("off", "--reason", "maintenance", "--json")
    assert off.returncode == 0
    expected = {"off": True, "switch": str(rig.folder / "state/dvfs.off"), "actuator": True, "changed": []}
    assert json.loads(off.stdout) == expected
    eventually(rig.back, 1)  # a limit takes a moment to come into effect on the board
    assert "maintenance" in (rig.folder / "state/dvfs.off").read_text()
    wrong = switch("off", "--file", rig.folder / "other")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert f"uses {rig.folder / 'state/dvfs.off'}" in wrong.stderr


def test_both_files_of_the_switch_keep_steering_off_until_it_is_turned_on(make_rig: Callable, tmp_path: Path) -> None:
    rig = make_rig(f"kill_switch: {tmp_path / 'off'}\nallow: [{{devices: all, knobs: [power, clock], baseline: unlocked}}]\n")
    files = [tmp_path / "off", rig.folder / "state/dvfs.off"]
    rig.start()
    for off in (files[1:], files):
        rig.hold(*rig.uuids)
        for file in off:
            file.write_text("maintenance\n")
        eventually(rig.back)
        with ActuatorClient(rig.socket) as client:
            assert client.status().kill_switch == str(off[0])
            with pytest.raises(ActuatorError, match="kill switch") as refused:
                client.acquire(rig.uuids)
            assert refused.value.code == "killed"
        done = said_here("dvfs", "on", "--socket", rig.socket)
        assert (done.returncode, [file.exists() for file in files]) == (0, [False, False]), done.stderr


def test_the_switch_survives_restarts_and_the_loss_of_everything_in_run(make_rig: Callable) -> None:
    rig = make_rig()
    rig.start()
    assert said_here("dvfs", "off", "--socket", rig.socket).returncode == 0
    for _ in range(2):
        rig.stop()
        shutil.rmtree(rig.run)  # as systemd does when the unit stops, and a reboot
        rig.start()
        with ActuatorClient(rig.socket) as client:
            assert client.status().killed
            with pytest.raises(ActuatorError, match="kill switch"):
                client.acquire(rig.uuids)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_places_that_others_can_change_are_refused(make_rig: Callable, tmp_path: Path) -> None:
    rig = make_rig()
    rig.start()
    rig.stop()
    config, state, run = rig.folder / "actuator.yaml", rig.folder / "state", rig.run
    open_to_all, given_away = ((config, 0o666), (state, 0o777), (run, 0o1777)), ((config, 0o600), (state, 0o700), (run, 0o755))
    cases = [(*case, 0) for case in open_to_all] + [(*case, 65534) for case in (*given_away, (tmp_path, 0o755))]
    for path, mode, owner in cases:
        before = path.stat()
        os.chown(path, owner, before.st_gid)
        path.chmod(mode)
        done = said_here("actuator", "--config", config, "--state", state, "--socket", rig.socket)
        last = done.stderr.splitlines()[-1]
        assert (done.returncode, str(path) in last) == (2, True), done.stderr
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(before.st_mode & 0o7777)


def test_history_lists_restores_after_expiry_and_restart(rig: Rig) -> None:
    """Rows of a holder that died, of the kill of the actuator, and of the next start; numbers rise over restarts."""
    rig.hold(*rig.uuids, ttl_s=4).kill()
    eventually(rig.back, BACK_S)
    rig.hold(*rig.uuids)
    rows, number = [], 0
    with ActuatorClient(rig.socket) as client:
        assert client.status().devices
        os.kill(rig.first_worker, signal.SIGKILL)
        eventually(rig.back, BACK_S)
        eventually(rig.worker, BACK_S)
        while page := client.history(number)[1]:
            rows += page
            number = page[-1]["number"]
    numbers = [row["number"] for row in rows]
    assert numbers == sorted(set(numbers))
    outcomes = [(row["action"], row["cause"], row["outcome"]) for row in rows]
    assert outcomes.count(("set", "request", "ok")) == 8
    assert outcomes.count(("restore", "expired", "ok")) == 4
    assert outcomes.count(("restore", "start", "ok")) == 4  # by the supervisor, or the next worker
    assert len(outcomes) == 16
    assert {row["device"] for row in rows} == set(rig.uuids)


def test_rows_have_the_time_of_the_simulated_node(rig: Rig) -> None:
    SimulatedClock(rig.folder / "plant").set_utc(-86_400 * 10**9)
    rig.hold(rig.uuids[0])
    with ActuatorClient(rig.socket) as client:
        ages_s = [(time.time_ns() - row["utc_ns"]) / 1e9 for row in client.history(0)[1]]
    assert ages_s
    assert 86_400 - 1 < min(ages_s) <= max(ages_s) < 86_400 + 600


@pytest.mark.smoke
def test_a_flood_of_questions_costs_no_lease(rig: Rig) -> None:
    """A peer that asks without reading, a dozen that only connect: the one who holds a lease keeps it and is served."""
    idle = [socket.socket(socket.AF_UNIX) for _ in range(24)]
    with socket.socket(socket.AF_UNIX) as flood, ActuatorClient(rig.socket, timeout_s=60) as client:
        lease = client.acquire(rig.uuids, ttl_s=5.0)
        flood.connect(str(rig.socket))
        flood.setblocking(False)
        for each in idle:
            each.connect(str(rig.socket))
        question = encode({"v": 1, "id": 1, "op": "status"}) * 50
        end = time.monotonic() + 6  # longer than the lease
        while time.monotonic() < end:
            try:
                flood.send(question)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:  # it was dropped, and comes again
                flood_again(flood, rig.socket)
            if int(time.monotonic() * 2) % 2:
                client.heartbeat(lease)
        client.set(lease, rig.uuids[0], Setting(1005))
        client.heartbeat(lease)
    for each in idle:
        each.close()
    assert eventually(rig.worker) == rig.first_worker


def flood_again(flood: socket.socket, path: Path) -> None:
    with contextlib.suppress(OSError):
        flood.connect(str(path))


def test_foreign_change_is_left_alone(rig: Rig) -> None:
    client = rig.hold(*rig.uuids, ttl_s=4)
    assert foreign_limit(rig, 0, 300_000) == "300000"
    client.kill()
    eventually(lambda: rig.shows(1) == (700_000, (0, 0)), BACK_S)
    eventually(lambda: rig.shows(0) == (300_000, (0, 0)), 5)


def foreign_limit(rig, gpu: int, limit_mw: int) -> str:
    """Another program sets a limit through NVML."""
    code = (
        "import sys; from energy_agent.devices.nvml.library import RealNvml;"
        "from energy_agent.sim.gpu.build import library_path;"
        "n = RealNvml(library_path()); n.init(); d = n.device_by_index(int(sys.argv[1]));"
        "n.set_power_limit_mw(d, int(sys.argv[2])); print(n.power_limit_mw(d))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(gpu), str(limit_mw)],
        env=os.environ | {"WATTLENS_SIM": str(rig.folder)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_faults_of_the_setters(rig: Rig) -> None:
    """NO_PERMISSION is refused; a hung setter costs its child process, never the actuator; a partial setting is reverted."""
    first, second = rig.uuids
    with ActuatorClient(rig.socket) as client:
        lease = client.acquire([first, second], ttl_s=60)  # a setter that hangs takes seconds
        rig.plant.fault(0, "no_permission", call="nvmlDeviceSetPowerManagementLimit")
        with pytest.raises(LeaseError, match="no_permission"):
            client.set(lease, first, Setting(1005, 500_000))
        eventually(lambda: rig.shows(0) == (700_000, (0, 0)), 5)
        rig.plant.clear(0)
        rig.plant.fault(0, "hang", call="nvmlDeviceSetGpuLockedClocks")
        with pytest.raises(ActuatorError, match="timeout"):
            client.set(lease, first, Setting(1005, 500_000))
        client.set(lease, second, Setting(1005))
        eventually(lambda: rig.shows(1) == (700_000, (345, 1005)), 5)
        eventually(lambda: rig.shows(0)[0] == 700_000)
        rig.plant.clear(0)
        client.set(lease, first, Setting(1005, 500_000))
        eventually(lambda: rig.shows(0) == (500_000, (345, 1005)), 5)
    eventually(rig.back, BACK_S)


def test_second_client_is_refused_with_the_lease_owner(rig: Rig) -> None:
    holder = rig.hold(rig.uuids[0])
    with ActuatorClient(rig.socket, name="late") as late:
        with pytest.raises(ActuatorError, match=rf"leased to holder \(pid {holder.pid}\)"):
            late.acquire(rig.uuids)
        late.acquire(rig.uuids[1:])
        rows = {d["device"]: d["holder"] for d in late.status().devices}
    assert rows[rig.uuids[0]] == f"holder (pid {holder.pid})"
    assert rows[rig.uuids[1]].startswith("late")


def test_lease_survives_a_restart_of_its_holder_within_the_grace(rig: Rig) -> None:
    client = ActuatorClient(rig.socket)
    lease = client.acquire(rig.uuids)
    client.set(lease, rig.uuids[0], Setting(1005))
    client.close()
    client.heartbeat(lease)  # reconnects and resumes the lease
    client.set(lease, rig.uuids[0], Setting(1200))
    eventually(lambda: rig.shows(0)[1] == (345, 1200), 5)
    client.close()


def test_garbage_and_oversize_cost_only_their_connection(rig: Rig) -> None:
    garbage = [b"GET / HTTP/1.1\r\n\r\n", (MAX_BYTES + 1).to_bytes(4, "big") + b"x", b"\x00\x00\x00\x02[]"]
    for bad in (*garbage, b"\x00\x00\x00\x03\xff\xfe\xfd", (4000).to_bytes(4, "big") + b"[" * 4000):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(60)
            peer.connect(str(rig.socket))
            peer.sendall(bad)
            answer = b""
            while chunk := peer.recv(65536):
                answer += chunk
            assert b'"ok":false' in answer
    odd = [{"v": 1, "id": 1, "op": "set", "lease": "x", "device": [], "setting": {}}, {"v": 2, "id": 1}, {"v": 1, "op": "rm"},
           {"v": 1, "op": "acquire", "devices": ["a"], "ttl_s": 1e9}, {"v": 1, "op": "status", "offset": -1}]  # fmt: skip
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(60)
        peer.connect(str(rig.socket))
        for message in odd:
            peer.sendall(encode(message))
            assert b'"ok":false' in peer.recv(65536)
    assert eventually(rig.worker) == rig.first_worker


def test_no_peer_ends_the_worker_or_the_lease_of_another(rig: Rig) -> None:
    """What five peers send at once, some of it cut anywhere; a holder named by emoji stays in the history for good."""
    draw = random.Random(1)
    emoji = "\N{GRINNING FACE}" * 64
    with ActuatorClient(rig.socket, name="honest") as honest, ActuatorClient(rig.socket, name=emoji) as named:
        lease = honest.acquire(rig.uuids[:1])
        honest.set(lease, rig.uuids[0], Setting(1005))
        named.set(named.acquire(rig.uuids[1:]), rig.uuids[1], Setting(1005, 500_000))
        assert {row["device"] for row in named.status().devices} == set(rig.uuids)
        number, pages = 0, 0
        while page := named.history(number)[1]:
            number, pages = page[-1]["number"], pages + 1
        assert pages
        bodies = [
            f'{{"v":1,"op":"acquire","devices":["{rig.uuids[0]}"],"ttl_s":1{"0" * 400}}}',
            json.dumps({"v": 1, "op": "acquire", "devices": [emoji + emoji * 8]}, ensure_ascii=False),
            '{"v":1,"op":"heartbeat","lease":"\\ud800"}',
            '{"v":1,"op":"status","offset":NaN}',
            '{"v":1,"op":"history","after":1e999}',
        ]
        frames = [len(b := body.encode()).to_bytes(4, "big") + b for body in bodies]
        for _ in range(40):
            peers = []
            for _ in range(5):
                peers.append(peer := socket.socket(socket.AF_UNIX))
                peer.connect(str(rig.socket))
                data = draw.choice([draw.choice(frames), draw.randbytes(64), b"".join(draw.sample(frames, 3))])
                with contextlib.suppress(BrokenPipeError):
                    peer.sendall(data[: draw.choice([len(data), draw.randrange(1, len(data))])])
            honest.heartbeat(lease)
            for peer in peers:
                peer.close()
        honest.set(lease, rig.uuids[0], Setting(1200))
        assert (honest.hello()["pid"], rig.shows(0)[1]) == (rig.first_worker, (345, 1200))


def test_allow_list_is_kept(make_rig: Callable) -> None:
    rig = make_rig("allow: [{devices: [0], knobs: [power], power_w: [400, 600]}]\n")
    rig.start()
    first, second = rig.uuids
    with ActuatorClient(rig.socket) as client:
        with pytest.raises(ActuatorError, match="allow-list"):
            client.acquire([second])
        lease = client.acquire([first])
        with pytest.raises(ActuatorError, match="clock knob"):
            client.set(lease, first, Setting(sm_clock_max_mhz=1005))
        assert client.set(lease, first, Setting(power_limit_mw=1)).setting == Setting(None, 400_000)
        eventually(lambda: rig.shows(0) == (400_000, (0, 0)), 5)
        with pytest.raises(ActuatorError, match="not part of this lease"):
            client.set(lease, second, Setting(power_limit_mw=500_000))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_other_users_are_refused(make_rig: Callable) -> None:
    rig = make_rig()
    rig.start()
    assert rig.socket.stat().st_mode & 0o777 == 0o600
    rig.run.chmod(0o755)
    rig.socket.chmod(0o666)  # the mode is not all that keeps others out
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with socket.socket(socket.AF_UNIX) as peer:
                os.chdir(rig.run)
                os.setgid(65534)
                os.setuid(65534)
                peer.settimeout(60)
                peer.connect("a.sock")
                peer.sendall(encode({"v": 1, "id": 1, "op": "status"}))
                os.write(writer, b"answered" if peer.recv(4096) else b"hung up")
        except ConnectionError:
            os.write(writer, b"hung up")
        except OSError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    assert os.read(reader, 100) == b"hung up"
    os.close(reader)


def test_restore_is_refused_beside_a_live_actuator_and_on_a_damaged_journal(rig: Rig) -> None:
    assert rig.actuator is not None
    done = rig.restore()
    assert (done.returncode, f"pid {rig.actuator.pid}" in done.stderr) == (1, True)
    rig.stop()
    (rig.folder / "state/actuator.journal").write_text('{"schema":1,"kind":"nonsense"}\n')
    done = rig.restore()
    assert (done.returncode, done.stderr.count("\n"), "actuator.journal:1: damaged" in done.stderr) == (1, 1, True)


@pytest.mark.parametrize("epoch", ["driver reload", "another boot"])
def test_new_epoch_touches_nothing(rig: Rig, make_rig: Callable, epoch: str) -> None:
    """A left-over journal must not change the settings of a driver that was loaded again, or of the next boot."""
    rig.hold(*rig.uuids)
    rig.kill_all()
    if epoch == "driver reload":
        rig.plant.fault(0, "driver_reload")
    else:
        rig.plant.close()
        time.sleep(0.01)
        rig = make_rig()
        foreign_limit(rig, 0, 400_000)  # the very value that we wrote, but by somebody else
    done = rig.restore()
    assert {r["outcome"] for r in json.loads(done.stdout)["restored"]} == {"new_epoch"}
    assert epoch == "driver reload" or rig.shows(0)[0] == 400_000
