"""How a pod gets at the GPUs: which of the four ways it was set up for, and which of them gave nothing."""

from wattlens.doctor.finding import CheckContext, DoctorCheck, DoctorFinding, Findings, absent, fail, ok

MANAGEMENT = "management.nvidia.com/gpu=all"
_WAYS = ("runtimeClass", "cdi", "nri", "dra")
_WITHOUT_ENVIRONMENT = ("nri", "dra")
_OTHER = {
    "runtimeClass": "set the value deviceAccess to cdi; if that gives no access either, to nri",
    "cdi": "set the value deviceAccess to nri, or to runtimeClass if the toolkit does not support CDI",
    "nri": "set the value deviceAccess to runtimeClass, or to cdi",
    "dra": "add mig.nvidia.com to the value dra.deviceClasses on nodes with MIG, or set deviceAccess to cdi",
}
_STALE = ("LIBRARY_NOT_FOUND", "DRIVER_NOT_LOADED", "LIB_RM_VERSION_MISMATCH")
_ANEW = "regenerate it on the node: nvidia-ctk cdi generate, or restart nvidia-cdi-refresh or the GPU Operator's toolkit pod"
_INJECTED = "this pod requested GPU access, but the NVIDIA runtime gave none: "
_WHY = {
    "runtimeClass": _INJECTED
    + (
        "its toolkit ignores NVIDIA_VISIBLE_DEVICES=all in unprivileged pods "
        "(accept-nvidia-visible-devices-envvar-when-unprivileged=false), or this node has another default runtime and "
        "the value runtimeClassName is empty"
    ),
    "cdi": _INJECTED
    + (
        "it is not in CDI mode, ignores the environment of unprivileged pods, or the node has no CDI specification of "
        f"{MANAGEMENT} (list them with nvidia-ctk cdi list)"
    ),
    "nri": (
        "NVIDIA's NRI plugin gave this pod no access: the plugin is off (GPU Operator: cdi.nriPluginEnabled), NRI is "
        "disabled in containerd, or the plugin does not serve the namespace of this pod"
    ),
    "dra": (
        "the claim of this pod gave no access: the DRA driver does not prepare devices with adminAccess, or CDI is disabled in "
        "the container runtime"
    ),
}


def _look(facts: CheckContext) -> Findings:
    way = facts.environ.get("WATTLENS_DEVICE_ACCESS", "")
    visible = facts.environ.get("NVIDIA_VISIBLE_DEVICES", "")
    if facts.simulate is not None or not (way or facts.environ.get("KUBERNETES_SERVICE_HOST")):
        yield absent("device access", "not applicable: not a pod on a GPU node")
        return
    if way not in _WAYS:
        way = "cdi" if visible in (MANAGEMENT, "void") else "runtimeClass" if visible else "nri"
    answers = facts.probe.fatal is None and facts.probe.count > 0
    if answers:
        yield ok("device access", f"{way}: the pod sees {facts.probe.count} GPUs without allocating any")
        return
    yield _reason(facts, way, visible)


def _reason(facts: CheckContext, way: str, visible: str) -> DoctorFinding:
    reason = "" if facts.probe.fatal is None else facts.probe.fatal.reason
    library = reason != "LIBRARY_NOT_FOUND"
    devices = (facts.root / "dev/nvidiactl").exists()
    driver = facts.environ.get("NVIDIA_DRIVER_CAPABILITIES", "")
    if visible == "void" and reason in _STALE:  # void is what each CDI specification of NVIDIA's toolkit leaves
        return fail(
            "device access", f"{way}: the applied CDI specification does not match the installed driver or its location", _ANEW
        )
    if way not in _WITHOUT_ENVIRONMENT and visible in ("none", ""):
        return fail(
            "device access",
            f"{way}: NVIDIA_VISIBLE_DEVICES is {visible or 'not set'}, so the runtime gives no access",
            "set it as in deploy/kubernetes/base",
        )
    if devices and not library and way not in _WITHOUT_ENVIRONMENT and not {"utility", "all"} & set(driver.split(",")):
        return fail(
            "device access",
            f"{way}: the devices are present, but libnvidia-ml.so.1 is not: NVIDIA_DRIVER_CAPABILITIES is "
            f"{driver or 'not set'}",
            "add utility to it",
        )
    if devices or library:  # access works: the error is in the driver, and the driver check reports it
        return ok("device access", f"{way}: the pod has access to the driver; the driver itself fails, see NVML")
    return fail("device access", f"{way}: {_WHY[way]}", _OTHER[way])


SPEC = DoctorCheck("in a pod: how it accesses the GPUs, and why it has no access", "driver", _look)
