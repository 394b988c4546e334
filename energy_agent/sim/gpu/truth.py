"""The truth of a simulated GPU, which no sensor shows: what it drew, what its counter showed and hid, whose work it did."""

import ctypes
from dataclasses import dataclass
from typing import Final

from energy_agent.sim.gpu.plant_abi import checked

_SLOTS: Final = 32


@dataclass(frozen=True, slots=True)
class SlotTruth:
    """One process on a GPU. Slots of processes that ended stay readable until they are needed again."""

    slot: int
    pid: int
    live: bool
    submitted_ns: int  # of work, at the maximum clock
    done_ns: int
    busy_ns: int  # time in which its work ran; processes that run at once share it
    active_uj: int  # true energy while its work ran, shared in the same way
    memory_b: int
    idle_uj: int  # true energy while it held the GPU, or its MIG instance, and nothing ran there; owners have equal parts


@dataclass(frozen=True, slots=True)
class EnergyTruth:
    """What really happened on a GPU up to `t_ns`, which no sensor shows.

    Attributes:
        t_ns: UTC of this truth (whole ms of plant time).
        true_uj: all energy since the plant was made.
        sensed_uj: what the energy counter published over its life, across resets: what a perfect reader has seen.
        pending_uj: gain x energy since the last tick (and what a stuck counter withholds): the counter may still publish it.
        unseen_uj: gain x energy that it will never publish: from the last tick before a reset or loss to its restart.
        unseen_true_uj: the same energy without the gain.
        counter_mj: what the counter reads, were it read now.
        counter_resets: how often it restarted from 0.
        sm_clock_mhz: the clock.
        busy_ns: time in which any work ran.
        power_cap_ns: time in which the power cap held the clock down.
        event_reasons: clock-event bits.
        power_limit_mw: limit in effect.
        locked_mhz: the locked range in effect, (0, 0) when not locked.
        gain: what the sensors read for each true watt.
        offset_w: what they add to it.
        power_w: true power.
        temperature_c: of the GPU.
        slots: its processes.

    With counter model `full`: sensed + pending + unseen = gain x true + offset x time, to the rounding of a nJ per ms.
    """

    t_ns: int
    true_uj: int
    sensed_uj: int
    pending_uj: int
    unseen_uj: int
    unseen_true_uj: int
    counter_mj: int
    counter_resets: int
    sm_clock_mhz: int
    busy_ns: int
    power_cap_ns: int
    event_reasons: int
    power_limit_mw: int
    locked_mhz: tuple[int, int]
    gain: float
    offset_w: float
    power_w: float
    temperature_c: float
    slots: tuple[SlotTruth, ...]


def read(lib: ctypes.CDLL, handle: int, gpu: int) -> EnergyTruth:
    """What really happened on a GPU of the plant `handle`, up to now."""
    i = (ctypes.c_int64 * 15)()
    r = (ctypes.c_double * 4)()
    checked(lib.wl_truth(handle, gpu, i, r))
    rows = (ctypes.c_int64 * (9 * _SLOTS))()
    used = checked(lib.wl_slots(handle, gpu, rows))
    slots = tuple(
        SlotTruth(s[0], s[1], bool(s[2]), s[3], s[4], s[5], s[6] // 1000, s[7], s[8] // 1000)
        for s in (rows[9 * n : 9 * n + 9] for n in range(used))
    )
    return EnergyTruth(
        t_ns=i[0], true_uj=i[1] // 1000, sensed_uj=i[2] // 1000, pending_uj=i[3] // 1000, unseen_uj=i[4] // 1000,
        unseen_true_uj=i[5] // 1000, counter_mj=i[6] // 1_000_000, counter_resets=i[7], sm_clock_mhz=i[8], busy_ns=i[9],
        power_cap_ns=i[10], event_reasons=i[11], power_limit_mw=i[12], locked_mhz=(i[13], i[14]),
        gain=r[0], offset_w=r[1], power_w=r[2], temperature_c=r[3], slots=slots,
    )  # fmt: skip
