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
    "lost": FaultKind("the GPU has fallen off the bus: every call returns GPU_IS_LOST and its processes die"),
    "hang": FaultKind("calls do not return until the fault is cleared", takes_call=True),
    "latency": FaultKind("calls take longer", value="milliseconds per call", takes_call=True),
    "timeout": FaultKind("calls return TIMEOUT", takes_call=True),
    "not_supported": FaultKind("calls return NOT_SUPPORTED", takes_call=True),
    "no_permission": FaultKind("calls return NO_PERMISSION", takes_call=True),
    "unknown_error": FaultKind("calls return UNKNOWN", takes_call=True),
    "reset_required": FaultKind("calls return RESET_REQUIRED", takes_call=True),
    "stuck_sensor": FaultKind(
        "energy counter and power do not change",
        value="0: the counter catches up when the fault is cleared, 1: the energy is never counted",
    ),
    "ambient": FaultKind("the inlet air has another temperature", value="degrees Celsius"),
    "mig": FaultKind("MIG mode is on", value="number of instances, or one digit per instance: 321 has 3, 2 and 1 slices"),
    "mps": FaultKind("processes run concurrently, as clients of MPS", value="% of the SMs per process (0 means all)"),
    "counter_reset": FaultKind("the energy counter starts again at zero", once=True),
    "xid": FaultKind("the driver reports an XID event", value="the XID code", once=True),
    "ecc_corrected": FaultKind("corrected ECC errors in device memory", value="how many (0 means 1)", once=True),
    "ecc_uncorrected": FaultKind(
        "uncorrected ECC errors in device memory; one row per error is pending for remapping (pages pending for "
        "retirement before Ampere) until the driver is reloaded",
        value="how many (0 means 1)",
        once=True,
    ),
    "row_remap_failure": FaultKind("a row could not be remapped"),
    "pcie_replay": FaultKind("PCIe replays: packets that are sent again", value="how many (0 means 1)", once=True),
    "pcie_width": FaultKind("the PCIe link is narrower than its maximum", value="lanes"),
    "nvlink_down": FaultKind("an NVLink is down", value="the number of the link"),
    "nvlink_error": FaultKind("NVLink replays: packets that are sent again", value="how many (0 means 1)", once=True),
    "recovery_action": FaultKind(
        "the driver requests a recovery", value="1 reset, 2 reboot, 3 drain peers, 4 drain and reset, ... as in nvml.h"
    ),
    "driver_reload": FaultKind(
        "the whole node: the driver is reloaded; counters restart at zero, NVML clients must initialise again",
        once=True,
    ),
    "driver_mismatch": FaultKind("the whole node: library and kernel module have different versions"),
    "unprivileged": FaultKind(
        "the whole node: setters return NO_PERMISSION", value="0: for all users, 1: for all users except root"
    ),
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
    hint = f"; did you mean {near[0]!r}?" if near else f"; available: {', '.join(KINDS)}"
    raise UsageError(f"unknown fault {kind!r}{hint}")


def check_fault(kind: str, call: str, value: int) -> None:
    """Refuse what the plant would ignore.

    Raises:
        UsageError: unknown kind, a call or a value where the kind takes none, or a value out of range.
    """
    fault_kind = check_kind(kind)
    if call and not fault_kind.takes_call:
        raise UsageError(f"fault {kind!r} affects the whole GPU: it does not take a call")
    if call and not call.startswith("nvml"):
        raise UsageError(f"call {call!r}: expected the name of an NVML function, such as nvmlDeviceGetPowerUsage")
    if len(call) > 47:
        raise UsageError(f"call {call!r} is too long: at most 47 characters")
    if value and not fault_kind.value:
        raise UsageError(f"fault {kind!r} does not take a value")
    if not -1_000_000 <= value <= 1_000_000:
        raise UsageError(f"value of fault {kind!r}: expected -1000000 to 1000000, got {value}")


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
    active_faults: dict[tuple[int, str, str], FaultEvent] = {}
    for event in events:
        node_wide = event.kind in NODE_WIDE
        if not event.clear:
            if not KINDS[event.kind].once:
                active_faults[(-1 if node_wide else event.gpu, event.kind, event.call)] = event
            continue
        for key in list(active_faults):
            gpu, kind, _ = key
            if gpu in (-1, event.gpu) and event.kind in ("", kind):
                del active_faults[key]
    return list(active_faults.values())


def due(events: Iterable[FaultEvent], after_ns: int, until_ns: int) -> list[FaultEvent]:
    """Events with `after_ns < at_ns <= until_ns`, in order of time; clears come first among equals, so a fault may follow."""
    return sorted((e for e in events if after_ns < e.at_ns <= until_ns), key=lambda e: (e.at_ns, not e.clear))
