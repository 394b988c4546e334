"""The simulated node's GPUs from Python: make or attach the plant, submit work, set faults, read the truth.

The plant lives in one file that every process maps; this module, and NVML clients through the same library, all see one state.
What the numbers mean physically stands in energy_agent/sim/README.md.
"""

import ctypes
import os
import random
import time
import uuid as uuid_module
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from energy_agent.core.errors import UsageError
from energy_agent.sim.gpu.boards import BoardSpec, board
from energy_agent.sim.gpu.plant_abi import PlantError, board_fields, checked, library
from energy_agent.sim.gpu.sensors import check_sensors
from energy_agent.sim.gpu.truth import EnergyTruth, read

MAX_RATE: Final = 20.0
_GAIN_SPREAD: Final = 0.05

FAULTS: Final = {
    "lost": 1, "hang": 2, "not_supported": 3, "no_permission": 4, "stuck_sensor": 5, "mig": 6, "unknown_error": 7,
    "latency": 8, "ambient": 9, "timeout": 10, "reset_required": 11, "counter_reset": 12, "xid": 13, "driver_mismatch": 14,
    "unprivileged": 15, "driver_reload": 16, "nvlink_down": 17, "pcie_width": 18, "recovery_action": 19,
    "row_remap_failure": 20, "ecc_corrected": 21, "ecc_uncorrected": 22, "pcie_replay": 23, "nvlink_error": 24,
    "mps": 25,
}  # fmt: skip
"""Kinds of fault. `Plant.fault` says what each does."""


class Plant:
    """A simulated node's GPUs. Safe to use from several threads and processes at once."""

    def __init__(self, handle: int) -> None:
        """Use `create` or `attach`."""
        self._lib = library()
        self._handle: int | None = handle
        self._count = int(self._lib.wl_count(handle))
        self.rate = float(self._lib.wl_rate(handle))
        self.manual = bool(self._lib.wl_manual(handle))

    @classmethod
    def create(
        cls,
        path: Path,
        boards: Sequence[BoardSpec],
        *,
        seed: int,
        rate: float = 1.0,
        manual: bool = False,
        start_utc_ns: int | None = None,
    ) -> Self:
        """Make a node of `boards`, idle, at `start_utc_ns` (default: now), in the file `path` (replaced when it is there).

        `rate` is plant seconds per second. In manual mode time moves only by `advance_to`, `wait` and the clock's `sleep`.

        Raises:
            UsageError: unknown SKU or parameter, no or too many boards, a rate outside (0, 20], or `path` cannot be written.
        """
        if not 0.0 < rate <= MAX_RATE:
            raise UsageError(f"rate of the simulated node: expected above 0 and at most {MAX_RATE:g}, got {rate}")
        lib = library()
        start = time.time_ns() if start_utc_ns is None else start_utc_ns
        handle = lib.wl_create(os.fsencode(path), len(boards), seed & (2**64 - 1), rate, manual, start)
        if not handle:
            if not 1 <= len(boards) <= 64:
                raise UsageError(f"simulated node: expected 1 to 64 GPUs, got {len(boards)}")
            raise UsageError(f"cannot create the plant {path}: {os.strerror(ctypes.get_errno())}")
        try:
            for gpu, spec in enumerate(boards):
                _describe(lib, handle, gpu, spec, seed)
            if lib.wl_publish(handle, os.fsencode(path)) != 0:
                raise UsageError(f"cannot create the plant {path}: {os.strerror(ctypes.get_errno())}")
        except BaseException:
            lib.wl_close(handle)
            raise
        return cls(handle)

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Use the plant in the file `path`.

        Raises:
            UsageError: the file is missing, or another version of Wattlens created it.
        """
        handle = library().wl_attach(os.fsencode(path))
        if not handle:
            raise UsageError(
                f"{path} is not a simulated node of this version: {os.strerror(ctypes.get_errno())}; start it again"
            )
        return cls(handle)

    def close(self) -> None:
        """Release the mapping; the plant lives on in its file."""
        if self._handle is not None:
            self._lib.wl_close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def count(self) -> int:
        """Number of GPUs."""
        return self._count

    def uuid(self, gpu: int) -> str:
        """The GPU's UUID as NVML reports it."""
        answer = self._lib.wl_uuid(self._open, self._check_gpu(gpu))
        assert isinstance(answer, bytes)
        return answer.decode()

    def now_ns(self) -> int:
        """The plant's UTC."""
        return int(self._lib.wl_now_ns(self._open))

    def advance_to(self, utc_ns: int) -> None:
        """Move a manual plant's time forward to `utc_ns` and bring every GPU there.

        Raises:
            PlantError: the plant runs in real time, or `utc_ns` is in its past.
        """
        if self._lib.wl_advance_to(self._open, utc_ns) != 0:
            raise PlantError(f"cannot advance the plant to {utc_ns}: it runs in real time, or this time has passed")

    def truth(self, gpu: int) -> EnergyTruth:
        """What really happened on `gpu`, up to now."""
        return read(self._lib, self._open, self._check_gpu(gpu))

    def fault(self, gpu: int, kind: str, *, call: str = "", value: int = 0) -> None:
        """Set a fault on a GPU, or let one happen. Setting it again changes its value.

        Kinds (`call` is a C function's name, without its version for all versions, or "" for every call):
            lost: every call answers GPU_IS_LOST and the processes are gone (XID 79 is queued); idle power goes on, unseen.
                When cleared, settings are at their defaults and the counter starts from 0, as after a driver reset.
            hang: the call blocks until the fault is cleared.
            latency: the call takes `value` ms longer.
            not_supported, no_permission: the call answers so; `call` may be a field id, such as "186".
            unknown_error, timeout, reset_required: the call answers so.
            stuck_sensor: counter and power freeze. When cleared, the counter catches up (`value` 0) or goes on from there (1).
            mig: MIG mode; utilisation is not supported. `value` up to 7: as many instances of one slice; above that a digit an
                instance, its slices (1 to 4): 321 has 3, 2 and 1. The process in slot n is on instance n modulo their number.
            mps: processes run side by side, each on at most `value` % of the SMs (0: 100), as clients of MPS.
            ambient: inlet temperature of `value` degrees C.
            counter_reset: once: the counter starts from 0.
            xid: once: XID `value` is queued for event sets.
            ecc_corrected, ecc_uncorrected, pcie_replay, nvlink_error: once: `value` of them happen. For each uncorrected ECC
                error a row waits to be remapped (a page to be retired before Ampere), until a reset or reload.
            nvlink_down: link `value` is down. pcie_width: the link has `value` lanes. recovery_action: the driver asks for
                `value` (nvml.h). row_remap_failure: a row could not be remapped.
            driver_reload: once, of the whole node: another driver epoch, counters from 0, settings at their defaults; NVML
                clients that run are UNINITIALIZED. Processes stay, which a real driver does not let happen.
            driver_mismatch: of the whole node: initialising NVML fails with LIB_RM_VERSION_MISMATCH.
            unprivileged: of the whole node: setters answer NO_PERMISSION, to all (`value` 0) or to all but uid 0 (1).

        Raises:
            UsageError: no such kind, or a call name that is too long.
            PlantError: too many faults at once.
        """
        if len(call) > 47:
            raise UsageError(f"{call!r} is not an NVML call")
        checked(self._lib.wl_fault(self._open, self._check_gpu(gpu), _fault_number(kind), call.encode(), value))

    def clear(self, gpu: int, kind: str | None = None) -> None:
        """Clear faults of one kind, or all of them, those of the node too."""
        checked(self._lib.wl_clear(self._open, self._check_gpu(gpu), 0 if kind is None else _fault_number(kind)))

    def attach_process(self, gpu: int, pid: int, *, memory_b: int) -> int:
        """Put a process on a GPU; returns its slot. It leaves by `detach_process` or when the process dies.

        Raises:
            DeviceLostError: the GPU is lost.
            PlantError: no such process, or 32 processes are on the GPU.
        """
        return checked(self._lib.wl_process_attach(self._open, self._check_gpu(gpu), pid, memory_b))

    def detach_process(self, gpu: int, slot: int) -> None:
        """Take a process off a GPU; work that it still had is dropped."""
        checked(self._lib.wl_process_detach(self._open, self._check_gpu(gpu), slot))

    def submit(self, gpu: int, slot: int, *, reference_ns: int, memory_boundness: float, intensity: float = 1.0) -> int:
        """Queue work; returns at once with a ticket: the ns submitted to this slot so far.

        Args:
            gpu: index of the GPU.
            slot: from `attach_process`.
            reference_ns: how long it takes at the board's maximum clock, alone on the GPU.
            memory_boundness: 0 follows the clock, 1 does not.
            intensity: scales the dynamic power; 1 saturates the GPU.

        Raises:
            DeviceLostError: the GPU is lost, or was.
            PlantError: 8 pieces of different work wait already.
            UsageError: an argument is out of its range.
        """
        return checked(
            self._lib.wl_submit(self._open, self._check_gpu(gpu), slot, reference_ns, memory_boundness, intensity), "submit"
        )

    def done_ns(self, gpu: int, slot: int) -> int:
        """How much of the submitted work is done; a ticket is done when this reaches it."""
        return checked(self._lib.wl_done_ns(self._open, self._check_gpu(gpu), slot))

    def wait(self, gpu: int, slot: int, ticket: int, timeout_s: float = 3600.0) -> bool:
        """Sleep until `ticket` is done, at most `timeout_s` of real time; returns whether it is done.

        In manual mode nobody sleeps: the plant's time moves on instead, and `timeout_s` is plant time.

        Raises:
            DeviceLostError: the GPU was lost meanwhile.
            UsageError: such a ticket was never given out.
        """
        start_ns = self._elapsed_ns()
        while remaining_ns := checked(self._lib.wl_remaining_ns(self._open, self._check_gpu(gpu), slot, ticket), "wait"):
            left_ns = start_ns + round(timeout_s * 1e9) - self._elapsed_ns()
            if left_ns <= 0:
                return False
            # Look again now and then: the clock or the number of processes at work may have changed.
            if self.manual:
                self.advance_to(self.now_ns() + min(max(remaining_ns, 1_000_000), left_ns, 20_000_000))
            else:
                time.sleep(min(max(remaining_ns, 1_000_000) / self.rate, left_ns, 100_000_000) / 1e9)
        return True

    def _elapsed_ns(self) -> int:
        return self.now_ns() if self.manual else time.monotonic_ns()

    @property
    def _open(self) -> int:
        if self._handle is None:
            raise PlantError("the plant is closed")
        return self._handle

    def _check_gpu(self, gpu: int) -> int:
        if not 0 <= gpu < self._count:
            raise UsageError(f"no GPU {gpu}; the node has {self._count}")
        return gpu


def _fault_number(kind: str) -> int:
    try:
        return FAULTS[kind]
    except KeyError:
        raise UsageError(f"unknown fault {kind!r}; available: {', '.join(FAULTS)}") from None


def _describe(lib: ctypes.CDLL, handle: int, gpu: int, spec: BoardSpec, seed: int) -> None:
    """Write one board's parameters, those that the seed draws included."""
    draw = random.Random(f"{seed}/{gpu}")
    gain, unique, serial = (
        1.0 + draw.uniform(-_GAIN_SPREAD, _GAIN_SPREAD),
        draw.getrandbits(128),
        draw.randrange(10**12, 10**13),
    )
    data = board(spec.sku)
    numbers = dict(data.values)
    numbers["gain"] = gain if spec.gain is None else spec.gain
    numbers["offset_w"] = spec.offset_w
    numbers["counter_sampled"] = float(spec.counter_model == "sampled")
    if spec.tick_ms is not None:
        numbers["tick_ms"] = spec.tick_ms
    if spec.tick_jitter_ms is not None:
        numbers["tick_jitter_ms"] = spec.tick_jitter_ms
    if spec.capture is not None:
        from energy_agent.sim.gpu.sensor_capture import captured_sensors  # pydantic, which attaching to a node does without

        numbers.update(captured_sensors(spec.capture))
    numbers.update(spec.overrides)
    for name in board_fields():
        if name not in numbers:
            raise UsageError(f"GPU {gpu}: GPU board {spec.sku} has no {name}")
    if numbers["gain"] <= 0.0:
        raise UsageError(f"GPU {gpu}: gain: expected a number above 0, got {numbers['gain']:g}")
    try:
        check_sensors(numbers)
    except UsageError as error:
        raise UsageError(f"GPU {gpu}: {error}") from None
    for name, value in numbers.items():
        if lib.wl_board_number(handle, gpu, name.encode(), value) != 0:
            raise UsageError(f"GPU {gpu}: unknown GPU board parameter {name!r}")
    uuid = spec.uuid or f"GPU-{uuid_module.UUID(int=unique, version=4)}"
    texts = {"name": spec.name or data.name, "uuid": uuid, "serial": str(serial)}
    for name, text in texts.items():
        lib.wl_board_text(handle, gpu, name.encode(), text.encode())
