"""Which GPUs a process may use: CUDA_VISIBLE_DEVICES, as CUDA reads it, against what NVML has. Pure."""

from collections.abc import Sequence

from energy_agent.core.errors import WattlensError


def visible_devices(setting: str | None, uuids: Sequence[str]) -> list[str]:
    """UUIDs in CUDA's order. MIG devices keep their own name; `uuids` are those of the GPUs in PCI order.

    As CUDA does, the list ends before the first entry that names nothing, and a UUID may be shortened to what is unique.
    Indices are taken in PCI order, which is CUDA's own where all GPUs are alike or CUDA_DEVICE_ORDER=PCI_BUS_ID.

    Raises:
        WattlensError: by a mistake CUDA has no GPU; it names the entry. An empty list and -1 hide all on purpose.
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
        elif found or not uuids or entry in ("", "-1"):
            break
        else:
            raise WattlensError(f"CUDA_VISIBLE_DEVICES={setting[:80]!r}: {_wrong(entry, uuids)}, so CUDA sees no GPU")
        if name in found:  # CUDA refuses such a list as a whole
            raise WattlensError(f"CUDA_VISIBLE_DEVICES={setting[:80]!r} names {entry[:80]!r} twice, so CUDA sees no GPU")
        found.append(name)
    return found


def _wrong(entry: str, uuids: Sequence[str]) -> str:
    fits = sum(uuid.startswith(entry) for uuid in uuids)
    if entry.startswith("GPU-") and fits > 1:
        return f"{entry[:80]!r} fits {fits} GPUs"
    return f"{entry[:80]!r} names no GPU of this machine, which has {len(uuids)}, counted from 0"
