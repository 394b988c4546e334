"""Each GPU: does it answer, what is it."""

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, fail, ok, warn

_FIX = {
    "GPU_IS_LOST": "see dmesg for Xid 79; stop the GPU's users and reset it, or reboot; check its slot and power cables",
    "HANG": "see dmesg for Xid and NVRM lines; drain the node and reset the GPU, or reboot",
    "RESET_REQUIRED": "stop its users and run nvidia-smi --gpu-reset on it",
    "NO_PERMISSION": "open its /dev/nvidiaN to this user; in a container set NVIDIA_VISIBLE_DEVICES=all",
}


def _look(facts: CheckContext) -> Findings:
    for name, indices in facts.probe.group_by(lambda gpu: gpu.info.name).items():
        slowest = max(facts.probe.devices[i].read_s for i in indices)
        means = f"{len(indices)} x {name}; a full reading takes {slowest * 1e3:.1f} ms"
        if slowest > 0.25:
            yield warn(
                "response",
                f"{means}, so readings every second will be late",
                "turn on persistence mode if it is off; otherwise check for another NVML client that keeps the driver busy",
                indices,
            )
        else:
            yield ok("response", means, devices=indices)
    none_left = not facts.probe.devices
    troubles: dict[tuple[str, str], list[int]] = {}
    for index, trouble in sorted(facts.probe.troubles.items()):
        troubles.setdefault((trouble.reason, trouble.call), []).append(index)
    for (reason, call), unresponsive in troubles.items():
        what = f"does not return from {call}" if reason == "HANG" else f"{call}: {reason}"
        means = f"{what}; its metrics will be absent for this reason, the other GPUs are read"
        if none_left:
            means = f"{what}; no GPU is left to read"
        yield fail("no response", means, _FIX.get(reason, "see dmesg and nvidia-smi"), tuple(unresponsive), stops=none_left)


SPEC = DoctorCheck("each GPU responds", "gpus", _look)
