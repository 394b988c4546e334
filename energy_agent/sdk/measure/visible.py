"""GPUs to measure: those of CUDA_VISIBLE_DEVICES as CUDA reads it, or those that the user names. Pure."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from energy_agent.core.errors import WattlensError

_INDICES: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def visible_devices(setting: str | None, uuids: Sequence[str]) -> list[str]:
    """UUIDs in CUDA's order. MIG devices keep their own name; `uuids` are those of the GPUs in PCI order.

    As CUDA does, the list ends before the first entry that names nothing, and a UUID may be shortened to what is unique.
    Indices are taken in PCI order, which is CUDA's own where all GPUs are alike or CUDA_DEVICE_ORDER=PCI_BUS_ID.

    Raises:
        WattlensError: by a mistake CUDA has no GPU; it names the entry. An empty list and -1 hide all on purpose.
    """
    if setting is None:
        return list(uuids)
    devices: list[str] = []
    for entry in (part.strip() for part in setting.split(",")):
        if entry.startswith("MIG-"):
            name = entry
        elif entry.isdigit() and int(entry) < len(uuids):
            name = uuids[int(entry)]
        elif entry.startswith("GPU-") and len(match := [u for u in uuids if u.startswith(entry)]) == 1:
            name = match[0]
        elif devices or not uuids or entry in ("", "-1"):
            break
        else:
            raise WattlensError(f"CUDA_VISIBLE_DEVICES={setting[:80]!r}: {_wrong(entry, uuids)}, so CUDA sees no GPU")
        if name in devices:  # CUDA refuses such a list as a whole
            raise WattlensError(f"CUDA_VISIBLE_DEVICES={setting[:80]!r} lists {entry[:80]!r} twice, so CUDA sees no GPU")
        devices.append(name)
    return devices


def parse_names(names: str) -> list[str | range]:
    """The entries of a list such as `0,2-3,GPU-1a8e`: indices as ranges, UUIDs as text.

    Raises:
        WattlensError: an entry is something else; the text has the entry.
    """
    entries: list[str | range] = []
    for entry in (part.strip() for part in names.split(",")):
        if entry.startswith(("GPU-", "MIG-")):
            entries.append(entry)
            continue
        indices = _INDICES.fullmatch(entry)
        if indices is None:
            expected = "expected indices, ranges and UUIDs, such as 0,2-3"
            raise WattlensError(f"GPUs {names[:80]!r}: {expected}, got {entry[:80]!r}")
        low, high = int(indices[1]), int(indices[2] or indices[1])
        if high < low:
            raise WattlensError(f"GPUs {names[:80]!r}: {entry!r} is a descending range, expected '{high}-{low}'")
        entries.append(range(low, high + 1))
    return entries


def named_devices(names: str, uuids: Sequence[str]) -> list[str]:
    """UUIDs of the GPUs that a list such as `0,2-3` or `GPU-1a8e,MIG-5c2f` names, in the order of `uuids`, MIG devices last.

    Indices and `uuids` are in PCI order, as in `nvidia-smi -i`. A UUID may be shortened to what is unique.

    Raises:
        WattlensError: an entry does not name a GPU, names one again, or the list is empty; the text has the entry.
    """
    selected: list[str] = []
    for entry in parse_names(names):
        if isinstance(entry, range):
            if entry[-1] >= len(uuids):
                text = f"{entry[0]}-{entry[-1]}" if len(entry) > 1 else str(entry[0])
                raise WattlensError(f"GPUs {names[:80]!r}: {_wrong(text, uuids)}")
            matches = list(uuids[entry[0] : entry[-1] + 1])
        else:
            matches = [entry] if entry.startswith("MIG-") else [uuid for uuid in uuids if uuid.startswith(entry)]
            if len(matches) != 1:
                raise WattlensError(f"GPUs {names[:80]!r}: {_wrong(entry, uuids)}")
        if twice := set(matches) & set(selected):
            raise WattlensError(f"GPUs {names[:80]!r}: {sorted(twice)[0]} is listed twice")
        selected += matches
    places = {uuid: place for place, uuid in enumerate(uuids)}
    return sorted(selected, key=lambda uuid: places.get(uuid, len(places)))


def describe_gpus(indices: Iterable[int], count: int) -> str:
    """GPUs in words, such as `all 8 GPUs`, `GPU 4` or `GPUs 0-2,5`; `count` GPUs are in the machine.

    >>> describe_gpus([0, 1, 2, 5], 8)
    'GPUs 0-2,5'
    """
    ordered = sorted(set(indices))
    if len(ordered) == count and count > 1:
        return f"all {count} GPUs"
    ends = [ordered[:1], *([a, b] for a, b in pairwise(ordered) if b != a + 1), ordered[-1:]]
    edges = [index for pair in ends for index in pair]
    parts = [f"{a}-{b}" if b > a else str(a) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return f"GPU{'s' if len(ordered) > 1 else ''} {','.join(parts)}"


def _wrong(entry: str, uuids: Sequence[str]) -> str:
    fits = sum(uuid.startswith(entry) for uuid in uuids)
    if entry.startswith("GPU-") and fits > 1:
        return f"{entry[:80]!r} fits {fits} GPUs"
    what = "reaches beyond the GPUs" if entry[:1].isdecimal() and "-" in entry else "is not a GPU"
    return f"{entry[:80]!r} {what} of this machine, which has {len(uuids)} GPUs, numbered from 0"
