"""How far the counts of training processes are recorded, as states of the journal. Pure.

Each process has two, in a component each: its numbers, which change with each report, and its labels. So a second writes the
numbers that changed, whatever texts the processes report.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from energy_agent.core.saved_state import Component, States, read_fields

_NUMBERS: Final = ("at_ns", "steps", "tokens")
_COMPONENTS: Final = (Component.TRAINING_COUNTS, Component.TRAINING_LABELS)
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Identity = tuple[int, int]
"""A process: pid, start time in clock ticks since boot."""


@dataclass(slots=True)
class ProcessCounts:
    """A process's counts as they are recorded."""

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


def dump(counted: Mapping[Identity, ProcessCounts | None]) -> dict[str, dict[str, str]]:
    """The states of processes; empty ones, which are removed, of those that have ended (None)."""
    numbers, labels = dict[str, str](), dict[str, str]()
    for (pid, start), each in counted.items():
        name = f"{pid}-{start}"
        numbers[name] = labels[name] = ""
        if each is not None:
            body = asdict(each)
            numbers[name] = _encode({field: body.pop(field) for field in _NUMBERS})
            labels[name] = _encode(body)
    return {Component.TRAINING_COUNTS: numbers, Component.TRAINING_LABELS: labels}


def remove_all(states: States) -> dict[str, dict[str, str]]:
    """The change that removes the states of all processes."""
    return {component: dict.fromkeys(states.get(component, ()), "") for component in _COMPONENTS}


def load(states: States) -> dict[Identity, ProcessCounts]:
    """Every process that has states.

    Raises:
        UNREADABLE: a state is damaged, or one of the two of a process is missing.
    """
    numbers, labels = (states.get(component, {}) for component in _COMPONENTS)
    bodies = [json.loads(labels[name]) | json.loads(numbers[name]) for name in numbers.keys() | labels.keys()]
    counted = [ProcessCounts(**read_fields(ProcessCounts, body)) for body in bodies]
    return {(each.pid, each.start): each for each in counted}
