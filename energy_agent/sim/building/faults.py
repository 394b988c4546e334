"""The faults of a simulated building's meters: what each one is, and the file by which they reach a node that runs.

A person and the timeline of the scenario both append to `meter-faults.jsonl` in the node's folder; the building plays what is
new there, each at its instant.
"""

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.sim.gpu.faults import FaultKind

PREFIX = "meter:"
"""What is before a meter's id where a GPU could stand too."""
_SIZE_LIMIT_B = 16 * 1024 * 1024

KINDS: Mapping[str, FaultKind] = {
    "offline": FaultKind("does not respond", value="0: no response, 1: its gateway reports that it does not respond"),
    "slow": FaultKind("responds slowly", value="milliseconds of real time (0 means 10000)"),
    "stuck": FaultKind(
        "energy and power do not change",
        value="0: the register catches up when the fault is cleared, 1: the energy is never registered",
    ),
    "reset": FaultKind("the energy register starts again at 0", once=True),
    "jump": FaultKind("the energy register jumps without any energy", value="Wh, may be negative (0 means 10000)", once=True),
    "drift": FaultKind("the gain drifts until the fault is cleared", value="ppm per hour, may be negative (0 means 10000)"),
}


@dataclass(frozen=True, slots=True)
class MeterFault:
    """A fault to set or to clear, at plant time since the node started. To clear without a kind clears all of the meter."""

    at_ns: int
    meter: str
    kind: str
    value: int = 0
    clear: bool = False


def check(kind: str, value: int = 0) -> FaultKind:
    """The description of `kind`.

    Raises:
        UsageError: no such fault, or a value that it does not take.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"available: {', '.join(KINDS)}"
        raise UsageError(f"unknown meter fault {kind[:64]!r}; {hint}")
    if value and not KINDS[kind].value:
        raise UsageError(f"meter fault {kind!r} does not take a value")
    if not -1_000_000_000 <= value <= 1_000_000_000:
        raise UsageError(f"value of fault {kind!r}: expected -1000000000 to 1000000000, got {value}")
    if value < 0 and kind not in {"jump", "drift"}:
        raise UsageError(f"value of fault {kind!r}: expected at least 0, got {value}")
    return KINDS[kind]


def active(events: Iterable[MeterFault]) -> list[MeterFault]:
    """The faults that are set after all of `events`."""
    active_faults: dict[tuple[str, str], MeterFault] = {}
    for event in events:
        if event.clear:
            active_faults = {
                key: e for key, e in active_faults.items() if key[0] != event.meter or event.kind not in ("", key[1])
            }
        elif not KINDS[event.kind].once:
            active_faults[(event.meter, event.kind)] = event
    return list(active_faults.values())


class MeterFaultLog:
    """The file. Lines are short appends, so the daemon and the command line may write at once."""

    def __init__(self, path: Path) -> None:
        self._path, self._read_b = path, 0

    def append(self, events: Sequence[MeterFault]) -> None:
        """Write down faults to set or to clear; the building plays them."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            for event in events:
                os.write(fd, json.dumps(asdict(event)).encode() + b"\n")
        finally:
            os.close(fd)

    def fresh(self) -> list[MeterFault]:
        """What was written since the last call."""
        try:
            if self._path.stat().st_size == self._read_b:
                return []
            with self._path.open("rb") as file:
                file.seek(self._read_b)
                text = file.read(_SIZE_LIMIT_B)
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read_b += len(whole)
        return [event for line in whole.splitlines() if (event := _parsed(line)) is not None]


def _parsed(line: bytes) -> MeterFault | None:
    """The fault of a line; None for what is no fault: the file may be written by hand."""
    try:
        event = MeterFault(**json.loads(line))
        if event.kind or not event.clear:
            check(event.kind, event.value)
        return MeterFault(int(event.at_ns), str(event.meter), event.kind, event.value, bool(event.clear))
    except (UsageError, ValueError, TypeError):
        return None
