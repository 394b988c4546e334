"""Which GPUs of this node Slurm's indexes mean. Pure; what is not known stays unknown.

A job's `GRES=gpu:h100:2(IDX:0-1)` counts the node's devices, and so does `shard:3(0/4,3/4)`, one number a GPU. The index is a
device's place in the list that slurmd builds: the types in the order of the node's `Gres`, within a type the lines and files in
the order of gres.conf. It is not the device number: if gres.conf begins with `nvidia[2-3]`, index 0 is /dev/nvidia2.
With AutoDetect, and without a file, slurmd lists the GPUs by their device number.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

MAX_GPUS = 256
MAX_HOSTS = 65_536
NOT_TOLD = -1
"""The index of what was given away without one."""
_KIND = r"(?::(\(null\)|[^,():]+))?"
_GRES = re.compile(rf"(?:^|,)(gpu|mps|shard){_KIND}:(\d{{1,9}})[KMGTP]?(?:\(([^()]*)\))?(?=,|$)")
_SHARES = re.compile(r"\d{1,9}/\d{1,9}(?:,\d{1,9}/\d{1,9})*")
_BRACKET = re.compile(r"\[([^\]]*)\]")
_PAIR = re.compile(r"""(\w+)\s*=\s*("[^"]*"|\S+)""")
_FILE = re.compile(r"nvidia(\d{1,3})")
_CAP = re.compile(r"nvidia-cap(\d{1,6})")
_CAP_OF = re.compile(r"^gpu(\d{1,3})/gi(\d{1,3})/ci(\d{1,3})/access (\d{1,6})$", re.MULTILINE)

Amounts = Mapping[tuple[str, int], int]
"""How much of each (gres name, index) is given away."""


def amounts(gres: str, *, of_node: bool = False) -> dict[tuple[str, int], int]:
    """What a text such as `gpu:a:2(IDX:0-1),shard:3(0/4,3/4)` gives away.

    Args:
        gres: the text.
        of_node: it is a node's, which has each type's shares apart, one after the other; a job's has those of all GPUs.

    Raises:
        ValueError: an index that no node has.
    """
    amounts_by_place: dict[tuple[str, int], int] = {}
    at: dict[str, int] = {}
    for name, _, count, indices in _GRES.findall(gres):
        shares = indices.split(",") if _SHARES.fullmatch(indices) else []
        first = at.get(name, 0)
        at[name] = first + len(shares) if of_node else 0
        if not int(count):
            continue
        if indices.startswith("IDX:") and indices != "IDX:N/A":
            each = dict.fromkeys(_numbers(indices[4:], MAX_GPUS), 1)
        elif shares:
            each = {index: int(share.partition("/")[0]) for index, share in enumerate(shares, first)}
        else:
            each = {NOT_TOLD: int(count)}
        for index, amount in each.items():
            if amount:
                amounts_by_place[name, index] = amounts_by_place.get((name, index), 0) + amount
    if any(index >= MAX_GPUS for _, index in amounts_by_place):
        raise ValueError("more GPUs than a node can have")
    return amounts_by_place


def types(gres: str) -> list[tuple[str, int]]:
    """(type, count) of the GPUs of a node by its `Gres`, in order; "" is no type."""
    return [("" if kind == "(null)" else kind, int(count)) for name, kind, count, _ in _GRES.findall(gres) if name == "gpu"]


@dataclass(frozen=True, slots=True)
class GresFile:
    """A GPU of gres.conf: its type ("" if it has no type) and its files, of which the last identifies it."""

    type: str
    files: tuple[str, ...]


def gres_files(text: str, node: str) -> list[GresFile] | None:
    """The GPUs with a file that gres.conf has for this node, in its order; None: it includes another file.

    Raises:
        ValueError: a list cannot be parsed.
    """
    files: list[GresFile] = []
    for line in text.replace("\\\n", " ").splitlines():
        line = line.partition("#")[0].strip()
        if re.match(r"include\b", line, re.IGNORECASE):
            return None
        keys = {key.lower(): value.strip('"') for key, value in _PAIR.findall(line)}
        if keys.get("name", "").lower() != "gpu" or not ("nodename" not in keys or node in hosts(keys["nodename"])):
            continue
        kind = keys.get("type", "")
        if "multiplefiles" in keys:
            files.append(GresFile(kind, tuple(hosts(keys["multiplefiles"], MAX_GPUS))))
        files += [GresFile(kind, (file,)) for file in hosts(keys.get("file", ""), MAX_GPUS)]
    return files


def devices(gres: str, files: list[GresFile], minors: Mapping[int, str], caps: str = "") -> list[str | None]:
    """The device that each index means, by UUID, or as `MIG-GPU-uuid/gi/ci`; None: not known.

    Args:
        gres: the node's, as Slurm has it.
        files: the node's of gres.conf.
        minors: UUID of each GPU by its device number.
        caps: the driver's /proc/driver/nvidia-caps/mig-minors.
    """
    kinds = types(gres)
    count = sum(number for _, number in kinds)
    if count > MAX_GPUS:
        return []
    if not files:
        is_unambiguous = len(kinds) == 1 and len(minors) == count
        return [minors[minor] for minor in sorted(minors)] if is_unambiguous else [None] * count
    by_cap = {int(cap): (int(gpu), f"{gi}/{ci}") for gpu, gi, ci, cap in _CAP_OF.findall(caps)}
    ordered: list[str | None] = []
    for kind, number in kinds:
        of_kind = [file for file in files if not kind or file.type.lower() == kind.lower()]
        if len(of_kind) != number:
            return [None] * count
        ordered += [_device(file, minors, by_cap) for file in of_kind]
    return ordered


def _device(file: GresFile, minors: Mapping[int, str], by_cap: Mapping[int, tuple[int, str]]) -> str | None:
    name = file.files[-1].rpartition("/")[2] if file.files else ""
    if whole := _FILE.fullmatch(name):
        return minors.get(int(whole[1]))
    cap = _CAP.fullmatch(name)
    part = by_cap.get(int(cap[1])) if cap else None
    return f"MIG-{minors[part[0]]}/{part[1]}" if part is not None and part[0] in minors else None


def hosts(expression: str, most: int = MAX_HOSTS) -> list[str]:
    """The names that a list such as `gpu[01-03,7],login1` means, in order.

    Raises:
        ValueError: it cannot be parsed, or has more than `most`.
    """
    names: list[str] = []
    for part in re.split(r",(?![^\[]*\])", expression) if expression else ():
        for name in _expand(part, most):
            names.append(name)
            if len(names) > most:
                raise ValueError(f"a list of more than {most} names")
    return names


def _expand(part: str, most: int) -> Iterator[str]:
    bracket = _BRACKET.search(part)
    if bracket is None:
        yield part
        return
    tails = list(islice(_expand(part[bracket.end() :], most), most + 1))  # one too many is refused
    for number in _padded(bracket[1], most):
        for tail in tails:
            yield part[: bracket.start()] + number + tail


def _padded(ranges: str, most: int) -> list[str]:
    numbers: list[str] = []
    for each in ranges.split(","):
        low, _, high = each.partition("-")
        numbers += [str(number).zfill(len(low)) for number in _span(low, high or low, most - len(numbers))]
    return numbers


def _numbers(ranges: str, most: int) -> list[int]:
    return [int(number) for number in _padded(ranges, most)]


def _span(low: str, high: str, most: int) -> range:
    if not (low.isdigit() and high.isdigit() and len(low) < 10 and len(high) < 10 and 0 <= int(high) - int(low) < most):
        raise ValueError(f"expected a range of numbers, got {low[:20]}-{high[:20]}")
    return range(int(low), int(high) + 1)
