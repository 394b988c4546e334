"""What the doctor says of a pod's way to the GPUs: on pods that are folders, each as one of the three ways leaves it."""

from pathlib import Path

import pytest

from energy_agent.config.agent import Config
from energy_agent.runtime.clock import RealClock
from wattlens.doctor.checks.device_access import SPEC
from wattlens.doctor.finding import CheckContext, DoctorFinding, FindingLevel, NvmlAnswers, NvmlFailure

ALL, MANAGEMENT = {"NVIDIA_VISIBLE_DEVICES": "all"}, {"NVIDIA_VISIBLE_DEVICES": "management.nvidia.com/gpu=all"}
UTILITY = {"NVIDIA_DRIVER_CAPABILITIES": "utility"}
NOTHING = NvmlAnswers(fatal=NvmlFailure("LIBRARY_NOT_FOUND", "Init"))


def look(folder: Path, environ: dict[str, str], answers: NvmlAnswers, simulate: Path | None = None) -> DoctorFinding:
    clock = RealClock()
    facts = CheckContext(
        Config(), folder / "state", "127.0.0.1:9479", simulate, environ, clock, Path("/proc"), answers, clock.utc_ns(),
        clock.boot_ns(), root=folder,
    )  # fmt: skip
    (finding,) = SPEC.look(facts)
    return finding


def pod(way: str, *environs: dict[str, str]) -> dict[str, str]:
    pod_environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "WATTLENS_DEVICE_ACCESS": way}
    for environ in environs:
        pod_environ |= environ
    return pod_environ


@pytest.mark.parametrize(
    ("way", "environ"), [("runtimeClass", ALL), ("cdi", {"NVIDIA_VISIBLE_DEVICES": "void"}), ("nri", {}), ("dra", {})]
)
def test_a_way_that_works(tmp_path: Path, way: str, environ: dict[str, str]) -> None:
    finding = look(tmp_path, pod(way, environ), NvmlAnswers(count=8))
    assert (finding.status, finding.fix) == (FindingLevel.OK, "")
    assert finding.means.startswith(f"{way}: the pod sees 8 GPUs")


@pytest.mark.parametrize(
    ("way", "environ", "why", "fix"),
    [
        ("runtimeClass", ALL, "accept-nvidia-visible-devices-envvar-when-unprivileged=false", "deviceAccess to cdi"),
        (
            "runtimeClass",
            {"NVIDIA_VISIBLE_DEVICES": "none"},
            "so the runtime gives no access",
            "as in deploy/kubernetes/base",
        ),
        ("cdi", MANAGEMENT, "nvidia-ctk cdi list", "deviceAccess to nri"),
        ("cdi", {"NVIDIA_VISIBLE_DEVICES": "void"}, "the applied CDI specification does not match", "nvidia-ctk cdi generate"),
        ("nri", {"NVIDIA_VISIBLE_DEVICES": "void"}, "the applied CDI specification does not match", "nvidia-ctk cdi generate"),
        ("nri", {}, "cdi.nriPluginEnabled", "deviceAccess to runtimeClass"),
        ("dra", {}, "does not prepare devices with adminAccess", "mig.nvidia.com"),
    ],
)
def test_a_way_that_gave_nothing_is_named_with_what_to_try(
    tmp_path: Path, way: str, environ: dict[str, str], why: str, fix: str
) -> None:
    finding = look(tmp_path, pod(way, environ, UTILITY), NOTHING)
    assert finding.status is FindingLevel.FAIL
    assert finding.means.startswith(f"{way}: ")
    assert why in finding.means
    assert fix in finding.fix


def test_devices_without_the_library(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    finding = look(tmp_path, pod("runtimeClass", ALL), NOTHING)
    assert "NVIDIA_DRIVER_CAPABILITIES is not set" in finding.means
    assert finding.fix == "add utility to it"
    assert look(tmp_path, pod("runtimeClass", ALL, UTILITY), NOTHING).status is FindingLevel.OK, "the driver check has the rest"


def test_a_driver_that_has_trouble_of_its_own_is_no_matter_of_access(tmp_path: Path) -> None:
    finding = look(
        tmp_path, pod("runtimeClass", ALL, UTILITY), NvmlAnswers(fatal=NvmlFailure("LIB_RM_VERSION_MISMATCH", "Init"))
    )
    assert finding.status is FindingLevel.OK
    injected = pod("cdi", {"NVIDIA_VISIBLE_DEVICES": "void"})
    assert look(tmp_path, injected, NvmlAnswers(fatal=NvmlFailure("HANG", "Init"))).status is FindingLevel.OK
    stale = look(tmp_path, injected, NvmlAnswers(fatal=NvmlFailure("LIB_RM_VERSION_MISMATCH", "Init")))
    assert "does not match the installed driver" in stale.means, "as after a driver update"


@pytest.mark.parametrize(("environ", "way"), [(ALL, "runtimeClass"), (MANAGEMENT, "cdi"), ({}, "nri")])
def test_custom_pod_is_recognised_by_its_requests(tmp_path: Path, environ: dict[str, str], way: str) -> None:
    finding = look(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"} | environ, NOTHING)
    assert finding.means.startswith(f"{way}: ")


def test_a_machine_and_a_simulated_node_need_no_way(tmp_path: Path) -> None:
    assert look(tmp_path, {}, NOTHING).status is FindingLevel.ABSENT
    assert look(tmp_path, pod("nri"), NvmlAnswers(count=8), simulate=tmp_path).status is FindingLevel.ABSENT
