"""What boards do not tell, in few lines: the same for many GPUs stands once. Pure."""

import re
from collections.abc import Iterable

from wattlens.top.facts import Gpu
from wattlens.top.text import ranges

NEVER = ("NOT_SUPPORTED", "FUNCTION_NOT_FOUND")
"""Answers of a board or driver that simply lacks the reading: nothing is wrong, and nobody can mend it."""
_UNIT = re.compile(r"_(c|w|mw|mj|uj|mhz|hz|ns|s|b|bytes|percent|ratio)$")


def told(gpus: Iterable[Gpu], *, lacking: bool) -> list[str]:
    """Lines `GPU 0-3: no power (NO_PERMISSION)`: those that may be mended or, where `lacking`, those of what boards lack."""
    by_gpu: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for gpu in gpus:
        fields: dict[str, list[str]] = {}
        for text in gpu.absent if gpu.up else ():
            name, _, reason = text.partition(": ")
            if (reason in NEVER) == lacking:
                fields.setdefault(reason, []).append(_UNIT.sub("", name).replace("_", " "))
        for reason, names in fields.items():
            by_gpu.setdefault((reason, tuple(names)), []).append(gpu.gpu)
    return [f"GPU {ranges(of)}: no {', '.join(names)} ({reason})" for (reason, names), of in by_gpu.items()]
