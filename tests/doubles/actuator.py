"""A fake NVML with a few GPUs in a JSON file, and with faults: for tests of the actuator that need no simulated library.

It models only the knobs, not time or power. Processes share the file, so that one can read it while others write; each call
takes the file's lock. Faults by call name: an NVML code, or -1 to hang.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvfs.actuator.allow_list import AllowList, AllowRule
from dvfs.actuator.client import ActuatorError, ActuatorStatus, Effect
from dvfs.actuator.core import ActuatorCore
from dvfs.actuator.guard import ActuatorRefusalError
from dvfs.actuator.knobs.nvml import KnobError, KnobReading, KnobWrite, ListedDevice, WriteResult, inventory, read, write
from dvfs.actuator.lease import TTL_S
from dvfs.actuator.records.journal import ActuatorJournal, Epoch
from dvfs.actuator.records.note import SettingNote
from dvfs.types import DeviceLimits, Setting
from energy_agent.devices.nvml.abi import FieldValue, NvmlError
from energy_agent.devices.nvml.library import RealNvml

HANG = -1
_CLOCKS = list(range(345, 1981, 15))


class FakeBoards:
    """The part of NVML that dvfs.actuator.knobs.nvml uses. `before` is called with each setter's name before it acts."""

    def __init__(self, path: Path, before: Callable[[str], None] = lambda call: None) -> None:
        """Use the boards in `path`, made by `create`."""
        self._path = path
        self._before = before

    @classmethod
    def create(cls, path: Path, count: int = 2, limit_mw: int = 700_000) -> "FakeBoards":
        """New boards, unlocked, at `limit_mw`."""
        board: dict[str, Any] = {
            "limit": limit_mw,
            "requested": limit_mw,
            "lock": None,
            "mig": False,
            "faults": {},
            "writes": [],
        }
        path.write_text(json.dumps({f"GPU-{i}": board for i in range(count)}))
        return cls(path)

    # What a test does and looks at.

    def state(self, uuid: str) -> dict[str, Any]:
        """The board now: limit (mW), lock ([low, high] or None), writes (each that took effect)."""
        with self._boards() as boards:
            return dict(boards[uuid])

    def change(self, uuid: str, **values: object) -> None:
        """Change a board as another program would."""
        with self._boards() as boards:
            boards[uuid].update(values)

    # NVML.

    def init(self) -> None:
        """Always up."""

    def device_count(self) -> int:
        """Number of boards."""
        with self._boards() as boards:
            return len(boards)

    def device_by_index(self, index: int) -> object:
        """A handle is the UUID."""
        return f"GPU-{index}"

    def device_by_uuid(self, uuid: str) -> object:
        """A handle is the UUID."""
        self._get(uuid, "device_by_uuid")
        return uuid

    def uuid(self, device: object) -> str:
        """The UUID."""
        return str(device)

    def name(self, device: object) -> str:
        """An H100's name."""
        return "NVIDIA H100 80GB HBM3"

    def mig_enabled(self, device: object) -> bool:
        """Whether MIG is on."""
        return bool(self._get(device, "mig_enabled")["mig"])

    def field_values(self, device: object, ids: Sequence[int]) -> list[FieldValue]:
        """Current and requested limit; every id answers the one or the other."""
        board = self._get(device, "field_values")
        return [FieldValue(i, 0, board["limit"] if i == 190 else board["requested"]) for i in ids]

    def power_limit_mw(self, device: object) -> int:
        """The limit."""
        return int(self._get(device, "power_limit_mw")["limit"])

    def power_limit_range_mw(self, device: object) -> tuple[int, int]:
        """200 to 700 W."""
        return 200_000, 700_000

    def sm_clock_mhz(self, device: object) -> int:
        """Runs as fast as the lock lets it."""
        lock = self._get(device, "sm_clock_mhz")["lock"]
        return int(lock[1]) if lock else _CLOCKS[-1]

    def supported_sm_clocks_mhz(self, device: object) -> list[int]:
        """345 to 1980 in steps of 15, highest first as the driver has it."""
        self._get(device, "supported_sm_clocks_mhz")
        return _CLOCKS[::-1]

    def event_reasons(self, device: object) -> int:
        """None set."""
        return 0

    def set_power_limit_mw(self, device: object, limit_mw: int) -> None:
        """Set the limit (and what was requested)."""
        self._set(device, "set_power_limit_mw", {"limit": limit_mw, "requested": limit_mw})

    def set_locked_sm_clocks_mhz(self, device: object, low_mhz: int, high_mhz: int) -> None:
        """Lock the clock."""
        self._set(device, "set_locked_sm_clocks_mhz", {"lock": [low_mhz, high_mhz]})

    def reset_locked_sm_clocks(self, device: object) -> None:
        """Unlock the clock."""
        self._set(device, "reset_locked_sm_clocks", {"lock": None})

    def _get(self, device: object, call: str) -> dict[str, Any]:
        board = self.state(str(device))
        fault = board["faults"].get(call)
        if fault == HANG:
            time.sleep(3600)
        if fault is not None:
            raise NvmlError(int(fault), call)
        return board

    def _set(self, device: object, call: str, values: dict[str, Any]) -> None:
        self._before(call)
        self._get(device, call)
        with self._boards() as boards:
            boards[str(device)].update(values)
            boards[str(device)]["writes"].append([call, *values.values()])
        self._before(f"after {call}")

    @contextmanager
    def _boards(self) -> Iterator[dict[str, Any]]:
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            before = os.pread(fd, 1 << 20, 0)
            boards = json.loads(before)
            yield boards
            after = json.dumps(boards).encode()
            if after != before:
                os.pwrite(fd, after + b" " * (len(before) - len(after)), 0)
        finally:
            os.close(fd)


class DirectKnobs:
    """The knobs port of the actuator core without processes, for tests of the core."""

    def __init__(self, nvml: RealNvml) -> None:
        """Use this NVML in place."""
        self._nvml = nvml

    def inventory(self) -> list[ListedDevice]:
        """See actuator_core.Knobs."""
        return inventory(self._nvml)

    def read(self, uuid: str) -> KnobReading:
        """See actuator_core.Knobs."""
        try:
            return read(self._nvml, uuid)
        except NvmlError as error:
            raise KnobError(error.name.lower()) from error

    def write(self, plan: dict[str, Sequence[KnobWrite]]) -> dict[str, list[WriteResult]]:
        """See actuator_core.Knobs."""
        return {uuid: write(self._nvml, uuid, writes, settle_s=0.0) for uuid, writes in plan.items()}


def core_of(
    knobs: RealNvml,
    journal: ActuatorJournal,
    limits: DeviceLimits,
    boot_ns: Callable[[], int] = lambda: 0,
    utc_ns: Callable[[], int] | None = None,
    epoch: Callable[[], Epoch] = lambda: Epoch("boot", "driver"),
    **options: Any,
) -> ActuatorCore:
    """An actuator core in this process, which allows all devices the same; UTC is the time since boot where not given."""
    allow = AllowList((AllowRule("all", limits),))
    return ActuatorCore(allow, journal, DirectKnobs(knobs), epoch, boot_ns, utc_ns or boot_ns, **options)


class DirectActuator:
    """The actuator without a socket: what the governor needs, straight on a core."""

    def __init__(self, core: ActuatorCore, connection: int = 1) -> None:
        """Be this connection."""
        self._core = core
        self._connection = connection

    def acquire(self, devices: Sequence[str], ttl_s: float = TTL_S) -> str:
        """See client.ActuatorClient."""
        return str(self._call(lambda: self._core.acquire(self._connection, "direct", tuple(devices), ttl_s))["lease"])

    def set(self, lease: str, device: str, setting: Setting, note: SettingNote | None = None) -> Effect:
        """See client.ActuatorClient."""
        answer = self._call(lambda: self._core.set(self._connection, lease, device, setting, note))
        return Effect(Setting(**answer["setting"]), answer["sm_clock_mhz"], tuple(answer["reasons"]))

    def heartbeat(self, lease: str) -> None:
        """See client.ActuatorClient."""
        self._call(lambda: self._core.heartbeat(self._connection, lease))

    def release(self, lease: str, reason: str = "") -> list[tuple[str, str, str]]:
        """See client.ActuatorClient."""
        return [(d, k, o) for d, k, o in self._call(lambda: self._core.release(self._connection, lease, reason))["restored"]]

    def status(self) -> ActuatorStatus:
        """See client.ActuatorClient."""
        rows: list[dict[str, Any]] = []
        offset: int | None = 0
        killed = False
        while offset is not None:
            page = self._core.status(offset)
            rows, offset, killed = rows + page["devices"], page["next"], page["killed"]
        return ActuatorStatus(killed, tuple(rows))

    def _call(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return call()
        except ActuatorRefusalError as error:
            raise ActuatorError(error.code, str(error)) from error
