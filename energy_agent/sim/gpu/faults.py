"""The faults of the simulated node: what each one is, how a person names one, and when a scenario's faults are due. Pure."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from energy_agent.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault. `once`: it happens and is over, so there is nothing to clear."""

    meaning: str
    value: str = ""  # what `value` is, "" where it has none
    takes_call: bool = False  # may be limited to one NVML function
    once: bool = False


KINDS: Mapping[str, FaultKind] = {
    "lost": FaultKind("the GPU has fallen off the bus: every call answers GPU_IS_LOST and its processes die"),
    "hang": FaultKind("calls do not return until the fault is cleared", takes_call=True),
    "latency": FaultKind("calls take longer", value="milliseconds a call takes", takes_call=True),
    "timeout": FaultKind("calls answer TIMEOUT", takes_call=True),
    "not_supported": FaultKind("calls answer NOT_SUPPORTED", takes_call=True),
    "no_permission": FaultKind("calls answer NO_PERMISSION", takes_call=True),
    "unknown_error": FaultKind("calls answer UNKNOWN", takes_call=True),
    "reset_required": FaultKind("calls answer RESET_REQUIRED", takes_call=True),
    "stuck_sensor": FaultKind(
        "energy counter and power stand still", value="0: the counter catches up when cleared, 1: that energy stays unseen"
    ),
    "ambient": FaultKind("the air at the inlet has another temperature", value="degrees Celsius"),
    "mig": FaultKind("MIG mode is on", value="number of instances, or a digit an instance: 321 has 3, 2 and 1 slices"),
    "mps": FaultKind("processes run side by side, as clients of MPS", value="% of the SMs that each may use (0: all)"),
    "counter_reset": FaultKind("the energy counter starts again at zero", once=True),
    "xid": FaultKind("the driver reports an XID event", value="the XID code", once=True),
    "ecc_corrected": FaultKind("ECC errors in device memory, corrected", value="how many (0: 1)", once=True),
    "ecc_uncorrected": FaultKind(
        "ECC errors in device memory, uncorrected; as many rows wait to be remapped (pages to be retired before Ampere) until "
        "the driver is loaded anew",
        value="how many (0: 1)",
        once=True,
    ),
    "row_remap_failure": FaultKind("a row could not be remapped"),
    "pcie_replay": FaultKind("PCIe packets are sent again", value="how many (0: 1)", once=True),
    "pcie_width": FaultKind("the PCIe link is narrower than it could be", value="lanes"),
    "nvlink_down": FaultKind("an NVLink is down", value="the number of the link"),
    "nvlink_error": FaultKind("NVLink packets are sent again", value="how many (0: 1)", once=True),
    "recovery_action": FaultKind(
        "the driver asks for a recovery", value="1 reset, 2 reboot, 3 drain peers, 4 drain and reset, ... as in nvml.h"
    ),
    "driver_reload": FaultKind(
        "the whole node: the driver is loaded anew; counters start again at zero, NVML clients have to initialise again",
        once=True,
    ),
    "driver_mismatch": FaultKind("the whole node: library and kernel module are of different versions"),
    "unprivileged": FaultKind("the whole node: setters answer NO_PERMISSION", value="0: for everybody, 1: unless root"),
}

NODE_WIDE = frozenset({"driver_mismatch", "driver_reload", "unprivileged"})


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """A fault to set or to clear, at plant time since the node started. To clear without a kind clears all of the GPU."""

    at_ns: int
    gpu: int
    kind: str
    call: str = ""
    value: int = 0
    clear: bool = False


def check_kind(kind: str) -> FaultKind:
    """The description of `kind`.

    Raises:
        UsageError: no such fault; names the nearest.
    """
    if kind in KINDS:
        return KINDS[kind]
    near = difflib.get_close_matches(kind, KINDS, 1, 0.5)
    hint = f"; the nearest is {near[0]!r}" if near else f"; there are: {', '.join(KINDS)}"
    raise UsageError(f"unknown fault {kind!r}{hint}")


def check_fault(kind: str, call: str, value: int) -> None:
    """Refuse what the plant would ignore.

    Raises:
        UsageError: unknown kind, a call or a value where the kind takes none, or a value out of range.
    """
    known = check_kind(kind)
    if call and not known.takes_call:
        raise UsageError(f"fault {kind!r} concerns the whole GPU: it takes no call")
    if call and not call.startswith("nvml"):
        raise UsageError(f"call {call!r} is not the name of an NVML function, such as nvmlDeviceGetPowerUsage")
    if len(call) > 47:
        raise UsageError(f"call {call!r} is too long: at most 47 characters")
    if value and not known.value:
        raise UsageError(f"fault {kind!r} takes no value")
    if not -1_000_000 <= value <= 1_000_000:
        raise UsageError(f"value {value} of fault {kind!r} is not between -1000000 and 1000000")


def parse_gpu(text: str, count: int) -> int:
    """Index of a GPU named `gpu2` or `2`.

    Raises:
        UsageError: not a GPU of this node.
    """
    digits = text.removeprefix("gpu")
    if digits.isascii() and digits.isdigit() and len(digits) < 4 and int(digits) < count:
        return int(digits)
    raise UsageError(f"no GPU {text!r} on this node: it has gpu0 to gpu{count - 1}")


def active(events: Iterable[FaultEvent]) -> list[FaultEvent]:
    """The faults that are set after all of `events`, in the order given; an event without a kind clears all of its GPU."""
    held: dict[tuple[int, str, str], FaultEvent] = {}
    for event in events:
        node_wide = event.kind in NODE_WIDE
        if not event.clear:
            if not KINDS[event.kind].once:
                held[(-1 if node_wide else event.gpu, event.kind, event.call)] = event
            continue
        for key in list(held):
            gpu, kind, _ = key
            if gpu in (-1, event.gpu) and event.kind in ("", kind):
                del held[key]
    return list(held.values())


def due(events: Iterable[FaultEvent], after_ns: int, until_ns: int) -> list[FaultEvent]:
    """Events with `after_ns < at_ns <= until_ns`, in order of time; clears come first among equals, so a fault may follow."""
    return sorted((e for e in events if after_ns < e.at_ns <= until_ns), key=lambda e: (e.at_ns, not e.clear))
