"""Which GPUs a process may use: CUDA_VISIBLE_DEVICES, as CUDA reads it, against what NVML has. Pure."""

from collections.abc import Sequence


def visible_devices(setting: str | None, uuids: Sequence[str]) -> list[str]:
    """UUIDs in CUDA's order. MIG devices keep their own name; `uuids` are those of the GPUs in PCI order.

    As CUDA does, the list ends before the first entry that names nothing, and a UUID may be shortened to what is unique.
    Indices are taken in PCI order, which is CUDA's own where all GPUs are alike or CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    if setting is None:
        return list(uuids)
    found: list[str] = []
    for entry in (part.strip() for part in setting.split(",")):
        if entry.startswith("MIG-"):
            name = entry
        elif entry.isdigit() and int(entry) < len(uuids):
            name = uuids[int(entry)]
        elif entry.startswith("GPU-") and len(match := [u for u in uuids if u.startswith(entry)]) == 1:
            name = match[0]
        else:
            break
        if name in found:
            return []  # CUDA refuses a list that names a device twice
        found.append(name)
    return found
