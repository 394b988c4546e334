"""How far the counts of training processes are recorded, as states of the journal. Pure.

Each process has two: its numbers, which change with each report, and its labels. So a second writes the numbers that changed,
whatever texts the processes report.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from energy_agent.core.saved_state import read_fields

TRAINING_STATE: Final = "training"
"""Key of the intake's own state, and the beginning of the keys of its processes."""
_NUMBERS_KEY: Final = f"{TRAINING_STATE}/counts/"
_LABELS_KEY: Final = f"{TRAINING_STATE}/process/"
_NUMBERS: Final = ("at_ns", "steps", "tokens")

Identity = tuple[int, int]
"""A process: pid, start time in clock ticks since boot."""


@dataclass(slots=True)
class Counted:
    """A process's counts as they are booked."""

    pid: int
    start: int
    workload: str
    run: str
    at_ns: int
    steps: dict[str, int]
    tokens: int
    rank: int = 0
    world: int = 1
    group: str = ""
    model: str = ""
    precision: str = ""
    lead: bool = False


def dump(identity: Identity, counted: Counted | None) -> dict[str, str]:
    """The states of a process; empty ones, which are removed, where it has ended."""
    name = f"{identity[0]}-{identity[1]}"
    if counted is None:
        return {_NUMBERS_KEY + name: "", _LABELS_KEY + name: ""}
    labels = asdict(counted)
    numbers = {field: labels.pop(field) for field in _NUMBERS}
    texts = (json.dumps(part, ensure_ascii=False, separators=(",", ":")) for part in (numbers, labels))
    return dict(zip((_NUMBERS_KEY + name, _LABELS_KEY + name), texts, strict=True))


def is_of_process(key: str) -> bool:
    """Whether a key among the journal's states is of a training process."""
    return key.startswith((_NUMBERS_KEY, _LABELS_KEY))


def load(states: Mapping[str, str]) -> dict[Identity, Counted]:
    """Every process that the journal's states have.

    Raises:
        UNREADABLE: a state is damaged, or one of the two of a process is missing.
    """
    names = {key.removeprefix(_NUMBERS_KEY).removeprefix(_LABELS_KEY) for key in states if is_of_process(key)}
    bodies = [json.loads(states[_LABELS_KEY + name]) | json.loads(states[_NUMBERS_KEY + name]) for name in names]
    return by_identity(bodies)


def by_identity(bodies: list[dict[str, object]]) -> dict[Identity, Counted]:
    """Processes of decoded states. Raises UNREADABLE."""
    counted = [Counted(**read_fields(Counted, body)) for body in bodies]
    return {(each.pid, each.start): each for each in counted}
