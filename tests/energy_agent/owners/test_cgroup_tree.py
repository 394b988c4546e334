"""Owners of cgroup directories: on a tree of files, and on the kernel's own where this machine lets us make cgroups."""

import os
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

from energy_agent.core.energy import ProcessUse
from energy_agent.owners.cgroup import membership
from energy_agent.owners.cgroup_tree import CgroupTree
from energy_agent.owners.kubernetes.living_pods import LivingPods
from energy_agent.owners.processes import ProcessOwners
from energy_agent.runtime.clock import RealClock

UID = "3c5e1d52-8b1f-4c1e-9a57-0f6d2b7e4a11"
VICTIM = f"kubepods/pod{UID}"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives directories away")


def proc_of(folder, tree, *, uids="0 0 4294967295", own_cgroup="0::/\n", init="0::/init.scope\n", v1=""):
    """A folder of /proc whose mounts are below `tree`."""
    (folder / "self").mkdir(exist_ok=True)
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1/cgroup").write_text(init)
    (folder / "self/cgroup").write_text(own_cgroup)
    (folder / "self/uid_map").write_text(f"         {uids}\n")
    (folder / "self/mountinfo").write_text(f"31 23 0:28 / {tree} rw,relatime - cgroup2 cgroup2 rw\n{v1}")
    return folder / "self"


def directories(tree, *paths):
    for path in paths:
        (tree / path).mkdir(parents=True, exist_ok=True)
    return tree


@as_root
def test_a_path_ends_with_the_first_directory_that_others_may_change(tmp_path):
    tree = directories(tmp_path / "cg", f"system.slice/evil.service/{VICTIM}/x", f"docker/ab/{VICTIM}")
    cgroups = CgroupTree.of_process(proc_of(tmp_path, tree))
    path = f"/system.slice/evil.service/{VICTIM}/x"
    assert (cgroups.trust("", path).path, cgroups.trust("", path).checked) == (path, True)
    for change in (
        lambda folder: os.chown(folder, 65534, 0),
        lambda folder: folder.chmod(0o757),
        lambda folder: (os.chown(folder, 0, 65534), folder.chmod(0o775)),
    ):
        folder = tree / "system.slice/evil.service"
        change(folder)
        trusted = cgroups.trust("", path)
        assert (trusted.path, trusted.checked) == ("/system.slice/evil.service", True)
        os.chown(folder, 0, 0)
        folder.chmod(0o755)
    assert cgroups.trust("", path).path == path


@as_root
def test_each_hierarchy_of_v1_is_looked_up_in_its_own_mount(tmp_path):
    tree = directories(tmp_path / "cg", "unified", "cpu,cpuacct/a/b", "systemd/a/b")
    os.chown(tree / "cpu,cpuacct/a", 1000, 1000)
    v1 = "".join(
        f"{n} 23 0:{n} {root} {tree}/{name} rw - cgroup cgroup rw,{name}\n"
        for n, (name, root) in enumerate([("cpu,cpuacct", "/"), ("xattr,name=systemd", "/"), ("memory", "/docker/ab")], 40)
    ).replace(f"{tree}/xattr,name=systemd", f"{tree}/systemd")
    cgroups = CgroupTree.of_process(proc_of(tmp_path, tree / "unified", v1=v1))
    assert cgroups.trust("cpu,cpuacct", "/a/b").path == "/a"
    assert cgroups.trust("cpuacct", "/a/b").path == "/a"
    assert cgroups.trust("name=systemd", "/a/b").checked
    for controllers in ("memory", "pids"):  # a part of it alone is mounted; it is not mounted at all
        assert not cgroups.trust(controllers, "/a/b").checked


@as_root
def test_a_mount_with_a_line_end_in_its_name_is_one_mount(tmp_path):
    tree, forged = directories(tmp_path / "cg", "a/b"), directories(tmp_path / "forged", "a/b")
    os.chown(tree / "a", 65534, 65534)
    for end in ("\r", "\v", "\f", "\x1c", "\x85", "\u2028"):
        mount = f"30 23 0:27 /volume{end}29 23 0:1 / {forged} rw - cgroup2 cgroup2 rw{end} /mnt rw - ext4 /dev/sda rw\n"
        proc = proc_of(tmp_path, tree)
        (proc / "mountinfo").write_bytes((mount + (proc / "mountinfo").read_text()).encode())
        assert CgroupTree.of_process(proc).trust("", "/a/b").path == "/a", repr(end)


@as_root
def test_invisible_owners_are_not_checked_and_the_reason_is_given(tmp_path):
    tree = directories(tmp_path / "cg", "a/b")
    os.chown(tree / "a", 1000, 1000)
    for facts, word in (
        ({"uids": "0 100000 65536"}, "user namespace"),
        ({"init": "0::/../../init.scope\n"}, "cgroup namespace"),
    ):
        cgroups = CgroupTree.of_process(proc_of(tmp_path, tree, **facts))
        assert word in cgroups.reason
        assert not cgroups.trust("", "/a/b").checked
    os.chown(tree, 65534, 65534)  # as a root of the kernel's tree looks from a user namespace
    assert CgroupTree.of_process(proc_of(tmp_path, tree)).reason
    assert CgroupTree.of_process(tmp_path / "none").reason
    os.chown(tree, 0, 0)
    cgroups = CgroupTree.of_process(proc_of(tmp_path, tree))
    assert not cgroups.reason
    for path in ("/../x", "/none/x", "relative"):
        assert (cgroups.trust("", path).path, cgroups.trust("", path).checked) == (path, False)


def test_path_below_a_common_directory_is_kept_if_owners_are_uncheckable(tmp_path):
    ours = f"/docker/ab/kubepods/burstable/pod{UID}/c1"
    cgroups = CgroupTree.of_process(proc_of(tmp_path, tmp_path / "none", own_cgroup=f"0::{ours}\n"))
    assert cgroups.trust("", "/docker/ab/kubepods/burstable/podX/c2").below_ours == "/podX/c2"
    for path in ("/system.slice/x.service", ours, "/docker", "/"):
        assert cgroups.trust("", path).below_ours == ""


def kernel_cgroup(stack, *parts, owner):
    """A directory in the kernel's own tree of v2, given to `owner`, and below it one with a pod's name; removed at the end."""
    root = next((p for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if (p / "cgroup.procs").is_file()), None)
    if root is None:
        pytest.skip("no cgroup v2 here")
    folder = root
    for number, part in enumerate(parts):
        folder = folder / part
        try:
            folder.mkdir()
        except OSError as error:
            pytest.skip(f"this machine lets us make no cgroup: {error}")
        stack.callback(folder.rmdir)
        if number == 0:
            os.chown(folder, owner, owner)
    return folder


@as_root
def test_users_cannot_create_a_manager_in_their_own_directory(tmp_path):
    tree = directories(tmp_path / "cg", "x.slice/user@1.service/train.service", "x.slice/y.slice/user@1.service/train.service")
    v1 = "".join(
        f"4{n} 23 0:{n} / {tree} rw - cgroup cgroup rw,{name}\n" for n, name in enumerate(("memory", "xattr,name=systemd"))
    )
    cgroups = CgroupTree.of_process(proc_of(tmp_path, tree, v1=v1))
    for path in ("x.slice/user@1.service/train.service", "x.slice/y.slice/user@1.service/train.service"):
        for hierarchy in ("0:", "4:memory", "1:name=systemd"):
            for owner, mode in ((65534, 0o755), (1, 0o755), (0, 0o775), (0, 0o757), (0, 0o777)):
                os.chown(tree / "x.slice", owner, 65534 if mode & 0o020 else 0)
                (tree / "x.slice").chmod(mode)
                assert membership(f"{hierarchy}:/{path}", cgroups.trust) is None, (hierarchy, owner, oct(mode))
            os.chown(tree / "x.slice", 0, 0)
            (tree / "x.slice").chmod(0o755)
            manager = (tree / path).parent
            for owner, mode, name in (
                (1, 0o755, "train@1"),
                (1, 0o775, None),  # its group may name units below it too
                (1, 0o757, None),
                (65534, 0o755, None),
            ):
                os.chown(manager, owner, owner)
                manager.chmod(mode)
                workload = membership(f"{hierarchy}:/{path}", cgroups.trust)
                assert (workload and workload.name) == name, (hierarchy, owner, oct(mode))


@as_root
def test_a_process_in_a_real_delegated_cgroup_is_no_pod_that_it_names(tmp_path):
    for owner, is_pod in ((65534, False), (0, True)):
        with ExitStack() as stack:
            folder = kernel_cgroup(stack, f"wattlens-test-{uuid.uuid4().hex[:8]}", "kubepods", f"pod{UID}", owner=owner)
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
            try:
                (folder / "cgroup.procs").write_text(str(child.pid))
                cgroups = CgroupTree.of_process()
                if cgroups.reason:
                    pytest.skip(cgroups.reason)
                owners = ProcessOwners(Path("/proc"), cgroups.trust)
                _, (facts,) = owners.resolve([ProcessUse(child.pid)], 0)
                assert (facts.kind == "pod") is is_pod
                living = LivingPods(RealClock(), Path("/proc"), cgroups.trust)
                assert living.lives(UID)
                living.poll()
                assert living.lives(UID) is is_pod
                assert ProcessOwners(Path("/proc")).resolve([ProcessUse(child.pid)], 0)[1][0].kind == "process"
            finally:
                child.communicate(b"\n")
