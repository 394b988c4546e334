"""Names from /proc/PID/cgroup, as kubelet, containerd, CRI-O, Docker, Podman, Slurm and systemd write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.owners.cgroup import MAX_NAME, TrustedPath, membership

CID = "4f0c7d1a9be2c35d86a1f0e9b7c2d4518e6f3a2b1c0d9e8f7a6b5c4d3e2f1a0b"
OTHER = "aa" * 32
UID = "3c5e1d52-8b1f-4c1e-9a57-0f6d2b7e4a11"
UID_ = UID.replace("-", "_")
MANIFEST = "9d2f6c1be0a84f5c8f1d7b3a6e5c4d2f"

POD = f"kubepods.slice/kubepods-pod{UID_}.slice"
BURSTABLE = f"kubepods-burstable-pod{UID_}.slice"
SCOPE = f"cri-containerd-{CID}.scope"

PODS = {
    "kubelet systemd, containerd, v2": f"0::/kubepods.slice/kubepods-burstable.slice/{BURSTABLE}/{SCOPE}",
    "kubelet systemd, containerd, guaranteed": f"0::/{POD}/{SCOPE}",
    "kubelet systemd, CRI-O": f"0::/kubepods.slice/kubepods-besteffort.slice/"
    f"kubepods-besteffort-pod{UID_}.slice/crio-{CID}.scope",
    "CRI-O with a container subgroup": f"0::/{POD}/crio-{CID}.scope/container",
    "kubelet cgroupfs, v2": f"0::/kubepods/burstable/pod{UID}/{CID}",
    "kubelet cgroupfs, guaranteed": f"0::/kubepods/pod{UID}/{CID}",
    "dockershim of old, v1": f"11:memory:/kubepods/besteffort/pod{UID}/{CID}\n"
    f"1:name=systemd:/kubepods/besteffort/pod{UID}/{CID}",
    "containerd's own slice spelling": f"0::/system.slice/containerd.service/{BURSTABLE}:cri-containerd:{CID}",
    "seen from another cgroup namespace": f"0::/../../{BURSTABLE}/{SCOPE}",
    "systemd inside the container": f"0::/{POD}/{SCOPE}/init.scope",
    "a unit inside the container": f"0::/{POD}/{SCOPE}/system.slice/vllm.service",
    "docker in the pod": f"0::/kubepods/burstable/pod{UID}/{CID}/docker/{OTHER}",
    "k3s": f"0::/kubepods/besteffort/pod{UID}/{CID}",
    "GKE, v1": f"9:devices:/kubepods/burstable/pod{UID}/{CID}\n0::/system.slice/containerd.service",
    "GKE, v2": f"0::/kubepods.slice/kubepods-burstable.slice/{BURSTABLE}/{SCOPE}",
    "cri-dockerd": f"0::/kubepods.slice/{BURSTABLE}/docker-{CID}.scope",
    "a Slurm node in a pod": f"0::/{POD}/{SCOPE}/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0",
    "hybrid: v1 controllers and an empty v2 line": f"12:devices:/{POD}/{SCOPE}\n0::/",
}


NESTED = {
    "kind under systemd": f"0::/system.slice/docker-{OTHER}.scope/kubelet.slice/kubelet-kubepods.slice/"
    f"kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UID_}.slice/{SCOPE}",
    "k3d": f"0::/docker/{OTHER}/kubepods/burstable/pod{UID}/{CID}",
    "kind: a node that is a container": f"0::/docker/{OTHER}/kubelet.slice/"
    f"kubelet-kubepods.slice/kubelet-kubepods-pod{UID_}.slice/{SCOPE}",
    "kubelet --cgroup-root": f"0::/tenants/gpu/kubepods/burstable/pod{UID}/{CID}",
}


def owned_by_root(_controllers, path):
    return TrustedPath(path, checked=True)


@pytest.mark.parametrize("text", PODS.values(), ids=PODS.keys())
def test_a_pod_by_its_uid(text):
    member = membership(text + "\n")
    assert member is not None
    assert (member.kind, member.name, member.labels["pod_uid"]) == ("pod", f"pod-{UID}", UID)


@pytest.mark.parametrize("name", PODS)
def test_the_container_of_a_pod(name):
    assert membership(PODS[name]).labels["container_id"] == CID[:12]


def test_a_node_in_a_container_counts_where_root_owns_all_directories_on_the_way():
    for text in NESTED.values():
        pod = membership(text, owned_by_root)
        assert (pod.kind, pod.labels) == ("pod", {"pod_uid": UID, "container_id": CID[:12]})
        outer = membership(text)
        assert outer is None or (outer.kind, outer.name) == ("container", f"container-{OTHER[:12]}")
        prefix = text[: text.index("kub")]
        assert membership(text, lambda *_, cut=prefix[3:]: TrustedPath(cut, checked=True)) == membership(prefix)
    slurmd = f"0::/docker/{CID}/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0"
    assert membership(slurmd, owned_by_root).labels == {"job": "4711", "step": "0"}
    assert membership(slurmd).name == f"container-{CID[:12]}"


def test_an_agent_in_the_same_nested_node_names_its_pods_by_what_they_have_in_common():
    paths = TrustedPath(f"/docker/{OTHER}/kubepods/burstable/pod{UID}/{CID}", below_ours=f"/pod{UID}/{CID}")
    assert membership("0::/x", lambda *_: paths).labels["pod_uid"] == UID


@pytest.mark.parametrize(
    "text",
    [
        f"0::/kubepods/burstable/pod{MANIFEST}/{CID}",
        f"0::/kubepods.slice/kubepods-burstable-pod{MANIFEST}.slice/crio-{CID}.scope",
    ],
)
def test_a_static_pod_by_the_hash_of_its_manifest(text):
    member = membership(text)
    assert (member.kind, member.name) == ("pod", f"pod-{MANIFEST}")


CONTAINERS = {
    "docker systemd, v2": f"0::/system.slice/docker-{CID}.scope",
    "docker cgroupfs, v1": f"12:pids:/docker/{CID}\n"
    f"11:cpuset:/docker/{CID}\n1:name=systemd:/docker/{CID}\n0::/system.slice/containerd.service",
    "docker with a parent": f"0::/batch.slice/docker-{CID}.scope",
    "podman, root": f"0::/machine.slice/libpod-{CID}.scope/container",
    "podman in a pod of its own": f"0::/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{CID}.scope/container",
    "podman, v1": f"12:pids:/machine.slice/libpod-{CID}.scope\n0::/machine.slice/libpod-{CID}.scope",
    "docker systemd, hybrid": f"5:devices:/system.slice/docker-{CID}.scope\n0::/system.slice/docker-{CID}.scope",
    "docker in docker": f"0::/docker/{CID}/docker/{OTHER}",
    "ECS": f"0::/ecs/{'ab' * 16}/{CID}",
    "podman cgroupfs": f"0::/libpod_parent/libpod-{CID}",
    "nerdctl": f"0::/system.slice/nerdctl-{CID}.scope",
    "plain containerd": f"0::/default/{CID}",
    "its neighbour in another cgroup namespace": f"0::/../docker-{CID}.scope",
}


@pytest.mark.parametrize("text", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_a_container_by_its_id(text):
    member = membership(text + "\n")
    assert member is not None
    assert (member.kind, member.name) == ("container", f"container-{CID[:12]}")


SLURM = {
    "v2": ("0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0", "0"),
    "v2 with a node's name": ("0::/system.slice/gpu17_slurmstepd.scope/job_4711/step_batch/user/task_0", "batch"),
    "v1": ("9:memory:/slurm/uid_1000/job_4711/step_extern/task_0\n1:name=systemd:/system.slice/slurmd.service", "extern"),
    "v1 of many slurmd": ("4:devices:/slurm_gpu17/uid_1000/job_4711/step_3", "3"),
    "hybrid, as Slurm 24.11 wrote it": (
        "9:name=systemd:/\n8:pids:/\n6:freezer:/slurm_gpu17/uid_0/job_4711/step_batch\n5:devices:/\n0::/",
        "batch",
    ),
    "a container in the job": (
        f"0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0/libpod-{CID}.scope/container",
        "0",
    ),
    "another job named below it": ("0::/system.slice/slurmstepd.scope/job_4711/step_0/slurmstepd.scope/job_9/step_1", "0"),
    "seen from another cgroup namespace": ("0::/../../job_4711/step_2/user/task_0", "2"),
}


@pytest.mark.parametrize(("text", "step"), SLURM.values(), ids=SLURM.keys())
def test_a_slurm_job_by_its_number(text, step):
    member = membership(text)
    assert (member.kind, member.name, member.labels) == ("slurm", "slurm-4711", {"job": "4711", "step": step})


UNITS = {
    "system service, v2": ("0::/system.slice/vllm.service", "vllm"),
    "template": ("0::/system.slice/system-vllm.slice/vllm@llama.service", "vllm@llama"),
    "service, v1": (
        "12:pids:/system.slice/vllm.service\n1:name=systemd:/system.slice/vllm.service\n0::/system.slice/vllm.service",
        "vllm",
    ),
    "delegated subgroup": ("0::/system.slice/vllm.service/workers", "vllm"),
    "machine": (r"0::/machine.slice/machine-qemu\x2d1\x2dvm.scope", r"machine-qemu\x2d1\x2dvm"),
    "a quadlet of podman": (f"0::/system.slice/llama.service/libpod-payload-{CID}", "llama"),
    "a user's service": ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/jupyter.service", "jupyter@1000"),
}


@pytest.mark.parametrize(("text", "name"), UNITS.values(), ids=UNITS.keys())
def test_a_systemd_unit_by_its_name(text, name):
    member = membership(text)
    assert (member.kind, member.name) == ("unit", name)


def test_a_container_of_a_user_is_not_one_of_the_system_that_has_its_name():
    for runtime in ("libpod", "docker"):
        member = membership(f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/{runtime}-{CID}.scope/container")
        assert (member.kind, member.name) == ("container", f"container-{CID[:12]}@1000")


@pytest.mark.parametrize(
    "text",
    [
        "0::/user.slice/user-1000.slice/session-3.scope",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
        "0::/init.scope",
        "0::/",
        "12:pids:/\n0::/",
        "",
        "garbage",
        "0:",
    ],
)
def test_login_session_has_no_membership(text):
    assert membership(text) is None


@pytest.mark.parametrize(
    "below", [f"pod{UID}", f"kubepods-pod{UID_}.slice/cri-containerd-x", "job_4711/step_0", f"pod{MANIFEST}/x"]
)
def test_a_user_cannot_book_on_a_pod_or_job_by_naming_a_cgroup_so(below):
    member = membership(f"0::/user.slice/user-1000.slice/user@1000.service/{below}")
    assert member is None or member.kind == "unit"


VICTIMS = [
    *(text.partition("::")[2].partition("\n")[0] for text in PODS.values() if text.startswith("0::/kube")),
    f"/pod{UID}/{CID}",
    f"/pod{UID}",
    f"/burstable/pod{UID}",
    f"/kubepods-pod{UID_}.slice/cri-containerd-x",
    f"/pod{MANIFEST}/x",
    f"/system.slice/docker-{CID}.scope",
    f"/docker/{CID}",
    f"/{CID}",
    "/system.slice/slurmstepd.scope/job_4711/step_0",
    "/slurm/uid_0/job_4711/step_0",
    "/job_4711/step_0",
    "/system.slice/vllm.service",
    "/vllm.service",
    f"/lxc.payload.db/kubepods/pod{UID}",
]
DELEGATED = {
    "/system.slice/evil.service": "evil",
    "/system.slice/evil.service/workers": "evil",
    "/machine.slice/systemd-nspawn@c1.service/payload": "systemd-nspawn@c1",
    "/machine.slice/machine-c1.scope/libvirt": "machine-c1",
    f"/system.slice/docker-{OTHER}.scope": f"container-{OTHER[:12]}",
    f"/docker/{OTHER}": f"container-{OTHER[:12]}",
    "/lxc.payload.c1": "lxc-c1",
    "/lxc/101/ns": "lxc-101",
    "/user.slice/user-1000.slice/session-3.scope": None,
    "/user.slice/user-1000.slice/user@1000.service": None,
    "/user.slice/user-1000.slice/user@1000.service/app.slice/evil.service": None,
    "/alice": None,
    "/batch/alice": None,
}


def test_no_name_below_a_workload_or_in_a_delegated_directory_makes_it_another():
    for up in ("", "/..", "/../.."):
        for place, workload in DELEGATED.items():
            for victim in VICTIMS:
                member = membership(f"0::{up}{place}{victim}/step_1/x")
                user = member is not None and "uid" in member.labels
                assert member is None or member.name == workload or (user and member.name.endswith("@1000")), (place, victim)
    for place in DELEGATED:  # and where the owner of the last directory is known
        for victim in VICTIMS:
            cut = membership(f"0::{place}{victim}", lambda *_, place=place: TrustedPath(place, checked=True))
            alone = membership(f"0::{place}")
            assert cut == alone or "user@" in place


def test_a_character_that_other_programs_take_for_a_line_end_starts_no_path():
    for end in ("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"):
        text = f"0::/user.slice/user-1000.slice/user@1000.service/a{end}0::/kubepods/pod{UID}/{CID}"
        assert membership(text).labels["uid"] == "1000"


def test_only_a_manager_that_root_made_and_its_user_owns_has_units_of_that_user():
    unit = "app.slice/train.service"

    def name(path, cut, owner):
        workload = membership(f"0::{path}", lambda *_: TrustedPath(cut, checked=True, owner=owner))
        return None if workload is None else workload.name

    for manager, uid in (
        ("/user.slice/user-1000.slice/user@1000.service", 1000),
        ("/tenants.slice/user@1000.service", 1000),
        ("/user.slice/user-0.slice/user@0.service", 0),
    ):
        assert name(f"{manager}/{unit}", manager, uid) == f"train@{uid}"
        for owner in (65534, 1, None, *({0} - {uid})):
            assert name(f"{manager}/{unit}", manager, owner) is None, (manager, owner)
        for above in ("/x.slice", "/x.slice/y.slice", "/user@65534.slice"):
            for owner in (65534, uid, None):
                assert name(f"{above}{manager}/{unit}", above, owner) is None, (above, owner)
    root = "/user.slice/user-0.slice/user@0.service"
    assert name(f"{root}/{unit}", f"{root}/{unit}", 0) == "train@0"
    assert name(f"{root}/app.slice/x.service/{unit}", f"{root}/app.slice/x.service", 65534) == "train@0"  # below root's unit
    users = "/user.slice/user-65534.slice/user@65534.service"
    assert name(f"{users}/user@1.service/{unit}", users, 65534) == "train@65534"
    assert name(f"/system.slice/evil.service/user@1.service/{unit}", "/system.slice/evil.service", 65534) == "evil"


def test_without_owners_a_users_manager_is_where_systemd_puts_it():
    for path in (
        "/x.slice/user@1.service/train.service",
        "/user.slice/user@1.service/train.service",
        "/user.slice/user-2.slice/user@1.service/train.service",
        "/user.slice/user-01.slice/user@01.service/train.service",
        "/user.slice/user-\u0661.slice/user@\u0661.service/train.service",
        "/x.slice/user.slice/user-1.slice/user@1.service/train.service",
        "/user.slice/user-1.slice/x.slice/user@1.service/train.service",
        "/user@1.service/train.service",
    ):
        for up in ("", "/..", "/../.."):
            assert membership(f"0::{up}{path}") is None, path
    for hierarchies in ("0::{}", "1:name=systemd:{}\n0::/", "9:memory:/x.slice/user@1.service/y.service\n1:name=systemd:{}"):
        text = hierarchies.format("/user.slice/user-1000.slice/user@1000.service/train.service")
        assert membership(text).name == "train@1000"


def test_an_instance_of_the_systems_template_is_not_a_users_unit():
    users = membership("0::/user.slice/user-8000.slice/user@8000.service/app.slice/vllm.service")
    for name in ("vllm", "vllm" + "x" * 111):  # as long as a name is kept
        assert membership(f"0::/system.slice/system-vllm.slice/{name}@8000.service").name != users.name


@given(
    st.text(max_size=400)
    | st.lists(st.sampled_from(["0::", "/", "pod", UID, CID, "docker-", ".scope", "\n", ":", "job_1"])).map("".join)
)
def test_any_text_is_read_without_an_error(text):
    member = membership(text)
    assert member is None or (member.kind in {"pod", "container", "slurm", "unit"} and len(member.name) <= MAX_NAME + 12)
