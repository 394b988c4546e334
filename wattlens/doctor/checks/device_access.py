"""How a pod gets at the GPUs: which of the three ways it was set up for, and which of them gave nothing."""

from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel

MANAGEMENT = "management.nvidia.com/gpu=all"
_WAYS = ("runtimeClass", "cdi", "nri")
_OTHER = {
    "runtimeClass": "set the value deviceAccess to cdi; where that gives nothing either, to nri",
    "cdi": "set the value deviceAccess to nri, or to runtimeClass where the toolkit is older than CDI",
    "nri": "set the value deviceAccess to runtimeClass, or to cdi",
}
_STALE = ("LIBRARY_NOT_FOUND", "DRIVER_NOT_LOADED", "LIB_RM_VERSION_MISMATCH")
_ANEW = (
    "write it anew on the node: nvidia-ctk cdi generate, or restart nvidia-cdi-refresh or the toolkit's pod of the GPU Operator"
)
_INJECTED = "the NVIDIA runtime gave this pod nothing although it asked: "
_WHY = {
    "runtimeClass": _INJECTED + "its toolkit does not heed NVIDIA_VISIBLE_DEVICES=all of unprivileged pods "
    "(accept-nvidia-visible-devices-envvar-when-unprivileged=false), or this node's default runtime is another and the value "
    "runtimeClassName is empty",
    "cdi": _INJECTED + f"it is not in CDI mode, does not heed the environment of unprivileged pods, or the node has no CDI "
    f"specification of {MANAGEMENT} (nvidia-ctk cdi list shows those that are there)",
    "nri": "NVIDIA's NRI plugin gave this pod nothing: it is off (GPU Operator: cdi.nriPluginEnabled), containerd has NRI "
    "disabled, or the plugin gives management devices only to pods of its own namespace and of those that it was told",
}


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    way = facts.environ.get("WATTLENS_DEVICE_ACCESS", "")
    visible = facts.environ.get("NVIDIA_VISIBLE_DEVICES", "")
    if facts.simulate is not None or not (way or facts.environ.get("KUBERNETES_SERVICE_HOST")):
        yield DoctorFinding(FindingLevel.ABSENT, "device access", "not a pod on a GPU node: nothing has to give it the GPUs")
        return
    if way not in _WAYS:
        way = "cdi" if visible in (MANAGEMENT, "void") else "runtimeClass" if visible else "nri"
    answers = facts.probe.fatal is None and facts.probe.count > 0
    if answers:
        yield DoctorFinding(
            FindingLevel.OK, "device access", f"{way}: the pod sees {facts.probe.count} GPUs and took none from users"
        )
        return
    yield _reason(facts, way, visible)


def _reason(facts: CheckContext, way: str, visible: str) -> DoctorFinding:
    reason = "" if facts.probe.fatal is None else facts.probe.fatal.reason
    library = reason != "LIBRARY_NOT_FOUND"
    devices = (facts.root / "dev/nvidiactl").exists()
    driver = facts.environ.get("NVIDIA_DRIVER_CAPABILITIES", "")
    if visible == "void" and reason in _STALE:  # void is what each CDI specification of NVIDIA's toolkit leaves
        means = (
            f"{way}: a CDI specification was applied and brought no driver that works: it is of another driver, or of its place"
        )
        return DoctorFinding(FindingLevel.FAIL, "device access", means, _ANEW)
    if way != "nri" and visible in ("none", ""):
        means = f"{way}: NVIDIA_VISIBLE_DEVICES is {visible or 'not set'}, so the runtime gives nothing"
        return DoctorFinding(FindingLevel.FAIL, "device access", means, "set it as deploy/kubernetes/base does")
    if devices and not library and way != "nri" and not {"utility", "all"} & set(driver.split(",")):
        means = (
            f"{way}: the devices are there and libnvidia-ml.so.1 is not: NVIDIA_DRIVER_CAPABILITIES is {driver or 'not set'}"
        )
        return DoctorFinding(FindingLevel.FAIL, "device access", means, "it has to hold utility")
    if devices or library:  # access works: the error is in the driver, and the driver check reports it
        return DoctorFinding(
            FindingLevel.OK, "device access", f"{way}: the pod was given the driver, which has its own trouble"
        )
    return DoctorFinding(FindingLevel.FAIL, "device access", f"{way}: {_WHY[way]}", _OTHER[way])


SPEC = DoctorCheck("in a pod: which way to the GPUs, and why it gave nothing", "driver", _look)
