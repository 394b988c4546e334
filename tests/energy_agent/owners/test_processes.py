"""Holders from process lists and an injected /proc."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from energy_agent.core.energy import MigUse, ProcessUse, State
from energy_agent.core.text import is_printable
from energy_agent.owners.processes import ProcessOwners
from tests.support import eventually

NOW = 10**18


def proc(root, pid, *, started=100, comm="python", cgroup="0::/user.slice/user-0.slice/session-1.scope\n", status=""):
    folder = root / str(pid)
    folder.mkdir(exist_ok=True)
    fields = ["S", *["0"] * 18, str(started), *["0"] * 30]
    (folder / "stat").write_bytes(b"%d (%s) %s\n" % (pid, os.fsencode(comm), " ".join(fields).encode()))
    (folder / "comm").write_bytes(os.fsencode(comm) + b"\n")
    (folder / "cgroup").write_text(cgroup)
    (folder / "status").write_bytes(status.encode())


def end(root, pid):
    for file in (root / str(pid)).iterdir():
        file.unlink()
    (root / str(pid)).rmdir()


def test_processes_of_one_unit_are_one_workload(tmp_path):
    proc(tmp_path, 10, cgroup="0::/system.slice/vllm.service\n")
    proc(tmp_path, 11, cgroup="0::/system.slice/vllm.service\n")
    owners = ProcessOwners(tmp_path)
    device_owners, facts = owners.resolve([ProcessUse(10, sm_us=30), ProcessUse(11, sm_us=12)], NOW)
    assert device_owners.holding.weights == {"vllm": 42}
    assert device_owners.processes == ((10, 100), (11, 100))
    assert [(f.workload, f.kind, f.since_ns) for f in facts] == [("vllm", "unit", NOW)] * 2
    assert owners.resolve([ProcessUse(10)], NOW)[1] == []  # known by now


def test_a_plain_process_is_named_by_command_pid_and_start(tmp_path):
    proc(tmp_path, 10, started=777, comm="train.py")
    device_owners, facts = ProcessOwners(tmp_path).resolve([ProcessUse(10)], NOW)
    assert list(device_owners.holding.weights) == ["process-train.py-10-777"]
    assert facts[0].labels == {"command": "train.py", "pid": "10"}


def test_a_plain_process_is_its_real_users_unless_it_has_pids_of_its_own(tmp_path):
    def labels(pid, status):
        proc(tmp_path, pid, status=status)
        return ProcessOwners(tmp_path).resolve([ProcessUse(pid)], NOW)[1][0].labels

    assert labels(12, "Name:\t\x0cUid: 7\nUid:\t1000\t0\t0\t0\nNSpid:\t10\n")["uid"] == "1000"
    assert labels(10, "Name:\tUid: 7\nUid:\t1000\t0\t0\t0\nNSpid:\t10\n")["uid"] == "1000"  # a setuid program
    many = "Groups:\t" + "0 " * 40_000 + "\n"  # more than is read, so that the pid namespaces are unknown
    for status in (
        "Uid:\t1000\t0\t0\t0\nNSpid:\t10\t1\n",
        "Name:\t\rNSpid: 1\nUid:\t1000\t0\t0\t0\nNSpid:\t10\t1\n",
        "Name:\t\x0bUid: 7\nUid:\t1000\t0\t0\t0\nNSpid:\t10\t1\n",
        f"Uid:\t1000\t0\t0\t0\n{many}NSpid:\t10\t1\n",
        "Uid:\n",
        "Uid:\tx\t0\n",
        "",
    ):
        assert "uid" not in labels(11, status)


@pytest.mark.parametrize("comm", ["a) S 1 (b", "tmux: server", ") 1 2 3", "", "\xff\xfe"])
def test_a_command_can_hold_anything(tmp_path, comm):
    proc(tmp_path, 10, started=777, comm=comm)
    owners = ProcessOwners(tmp_path)
    assert owners.start_time(10) == 777
    assert owners.resolve([ProcessUse(10)], NOW)[0].holding is not None


def test_reused_pid_is_another_process(tmp_path):
    owners = ProcessOwners(tmp_path)
    proc(tmp_path, 10, started=1)
    first, _ = owners.resolve([ProcessUse(10)], NOW)
    assert owners.alive(first.processes[0])
    proc(tmp_path, 10, started=2)
    assert not owners.alive(first.processes[0])
    second, facts = owners.resolve([ProcessUse(10)], NOW)
    assert set(first.holding.weights).isdisjoint(second.holding.weights)
    assert len(facts) == 1


def test_empty_process_list_is_a_known_answer(tmp_path):
    device_owners, facts = ProcessOwners(tmp_path).resolve([], NOW)
    assert (device_owners.holding.weights, facts) == ({}, [])


@pytest.mark.parametrize("pid", [0, 4711])
def test_invisible_process_makes_the_owner_unknown(tmp_path, pid):
    """Pid 0 across pid namespaces; a pid without its /proc folder: hidepid, a wrong root, another namespace."""
    proc(tmp_path, 10)
    device_owners, _ = ProcessOwners(tmp_path).resolve([ProcessUse(10), ProcessUse(pid)], NOW)
    assert (device_owners.holding, device_owners.reason) == (None, State.UNKNOWN_OWNER)
    assert device_owners.processes == ((10, 100),)


def test_what_has_ended_is_forgotten(tmp_path):
    proc(tmp_path, 10)
    proc(tmp_path, 11)
    owners = ProcessOwners(tmp_path)
    owners.resolve([ProcessUse(10), ProcessUse(11)], NOW)
    end(tmp_path, 10)
    owners.forget_dead()
    owners.forget_dead()
    _, facts = owners.resolve([ProcessUse(11)], NOW)
    assert facts == []
    proc(tmp_path, 10)
    assert len(owners.resolve([ProcessUse(10)], NOW)[1]) == 1


def test_this_very_process_on_the_real_proc(tmp_path):
    owners = ProcessOwners(procfs := type(tmp_path)("/proc"))
    device_owners, facts = owners.resolve([ProcessUse(os.getpid())], NOW)
    assert len(device_owners.holding.weights) == 1
    assert owners.alive(device_owners.processes[0])
    assert facts[0].workload in device_owners.holding.weights
    assert procfs.is_dir()


def test_killed_zombie_process_is_not_alive():
    owners = ProcessOwners(Path("/proc"))
    with subprocess.Popen(["sleep", "60"]) as child:
        identity = (child.pid, owners.start_time(child.pid))
        assert owners.alive(identity)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended; it stays a zombie
        assert owners.start_time(child.pid) == identity[1]
        assert not owners.alive(identity)


def test_a_process_lives_while_any_of_its_threads_does():
    program = """
import ctypes, threading, time
threading.Thread(target=lambda: (print("up", flush=True), time.sleep(60))).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    owners = ProcessOwners(Path("/proc"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "up\n"
        eventually(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        assert owners.alive((child.pid, owners.start_time(child.pid)))
        child.kill()


@pytest.mark.parametrize("hostile", ["evil\x1b[2J", "two\nlines", "a\tb\x7f", "\u202ereversed"])
def test_names_of_processes_and_cgroups_are_made_printable(tmp_path, hostile):
    proc(tmp_path, 10, comm=hostile)
    user = "0::/user.slice/user-1000.slice/user@1000.service"
    proc(tmp_path, 11, cgroup=f"{user}/{hostile.replace(chr(10), '')}.service\n")
    _, facts = ProcessOwners(tmp_path).resolve([ProcessUse(10), ProcessUse(11)], NOW)
    assert [f.kind for f in facts] == ["process", "unit"]
    assert all(is_printable(text) for f in facts for text in (f.workload, *f.labels.values()))


def mig(*uuids):
    return [MigUse(uuid, 1, 7, 16) for uuid in uuids]


def test_sm_time_of_departed_processes_goes_to_their_workload(tmp_path):
    for pid, unit in ((10, "vllm"), (11, "vllm"), (12, "train")):
        proc(tmp_path, pid, cgroup=f"0::/system.slice/{unit}.service\n")
    owners = ProcessOwners(tmp_path)
    owners.resolve([ProcessUse(10), ProcessUse(11), ProcessUse(12)], NOW)
    end(tmp_path, 11)
    end(tmp_path, 12)
    gone_processes = [
        ProcessUse(11, sm_us=40, listed=False),
        ProcessUse(12, sm_us=5, listed=False),
        ProcessUse(99, sm_us=7, listed=False),
    ]
    device_owners, _ = owners.resolve([ProcessUse(10, sm_us=2), *gone_processes], NOW)
    assert (device_owners.holding.weights, device_owners.holding.measured, device_owners.departed) == (
        {"vllm": 42},
        True,
        {"train": 5},
    )
    assert device_owners.holding.unseen == 7
    still_listed, _ = owners.resolve([ProcessUse(10, sm_us=2), ProcessUse(12, sm_us=5)], NOW)  # the driver has yet to notice
    assert (still_listed.holding.weights, still_listed.departed) == ({"vllm": 2}, {"train": 5})


@pytest.mark.parametrize("listings", [1, 5])
def test_what_used_the_gpu_until_its_end_is_named_whenever_the_dead_are_forgotten(tmp_path, listings):
    """Every listing includes processes of the previous one that have ended since."""
    owners = ProcessOwners(tmp_path)
    for number in range(listings):
        proc(tmp_path, 10 + number, cgroup=f"0::/system.slice/u{number}.service\n")
        owners.resolve([ProcessUse(10 + number)], NOW)
        end(tmp_path, 10 + number)
        owners.forget_dead()
        device_owners, _ = owners.resolve([ProcessUse(10 + number, sm_us=5, listed=False)], NOW)
        assert (device_owners.departed, device_owners.holding.unseen) == ({f"u{number}": 5}, 0)
    assert owners.workloads() == set()
    owners.forget_dead()
    device_owners, _ = owners.resolve([ProcessUse(10, sm_us=5, listed=False)], NOW)
    assert device_owners.holding.unseen == 5, "long gone: anybody may have its pid"


def test_each_mig_device_has_holders_of_its_own(tmp_path):
    for pid in (10, 11, 12):
        proc(tmp_path, pid, cgroup=f"0::/system.slice/u{pid}.service\n")
    processes = [ProcessUse(10, mig="M1"), ProcessUse(11, mig="M2"), ProcessUse(12, mig="M2")]
    device_owners, _ = ProcessOwners(tmp_path).resolve(processes, NOW, mig("M1", "M2", "M3"))
    assert device_owners.holding.slices == {"M1": {"u10": 0}, "M2": {"u11": 0, "u12": 0}, "M3": {}}
    assert set(device_owners.holding.weights) == {"u10", "u11", "u12"}


def test_a_process_that_cannot_be_seen_hides_the_holder_of_its_mig_device_alone(tmp_path):
    proc(tmp_path, 10, cgroup="0::/system.slice/a.service\n")
    visible, hidden = ProcessUse(10, mig="M1"), ProcessUse(0, mig="M2")
    device_owners, _ = ProcessOwners(tmp_path).resolve([visible, hidden], NOW, mig("M1", "M2"))
    assert device_owners.holding.slices == {"M1": {"a": 0}, "M2": None}
    for nowhere in (ProcessUse(0), ProcessUse(10)):  # the MIG device is not known
        device_owners, _ = ProcessOwners(tmp_path).resolve([visible, nowhere], NOW, mig("M1", "M2"))
        assert (device_owners.holding, device_owners.reason) == (None, State.UNKNOWN_OWNER)
