"""The actuator's supervisor: starts the worker, watches it, and restores when it dies. The only way to change a setting.

Supervisor and worker hold one instance lock together, so a second actuator on the same state folder waits until both are
dead. Neither process ever opens NVML: each call runs in a disposable child (knobs/children.py).
"""

import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dvfs.actuator.allow_list import AllowList
from dvfs.actuator.core import ActuatorCore
from dvfs.actuator.kill_switch import KillSwitch
from dvfs.actuator.knobs.children import ForkedKnobs
from dvfs.actuator.knobs.port import RestoreResult
from dvfs.actuator.records.epoch import machine_epoch
from dvfs.actuator.records.history import ActuatorHistory
from dvfs.actuator.records.journal import ActuatorJournal, Epoch
from dvfs.actuator.watch import PeerHeartbeat, Stop, restore_until
from dvfs.actuator.worker import ActuatorWorker
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.files.permissions import require_safe

LOG = logging.getLogger("wattlens.actuator")
_STOP_S = 20.0  # for the worker to restore after SIGTERM
_LOCK_WAIT_S = 15.0  # for an earlier actuator's last process to restore and end
_BACK_OFF_S = (0.5, 10.0)
_STEADY_S = 60.0
_END_S = 2.0  # between a worker's closed pair and its end


@dataclass(frozen=True, slots=True)
class ActuatorConfig:
    """Everything an actuator needs.

    `open_nvml` is called in a child, once per child. `simulated`: the GPUs are simulated, so folders above those of the
    actuator may belong to others. `utc_ns`: clock for the history's time stamps.
    """

    socket: Path
    state: Path
    open_nvml: Callable[[], RealNvml]
    allow: AllowList = field(default_factory=AllowList)
    kill_switch: KillSwitch = field(default_factory=KillSwitch)
    simulated: bool = False
    epoch: Callable[[], Epoch] = machine_epoch
    utc_ns: Callable[[], int] = RealClock().utc_ns
    timeout_s: float = 3.0


def serve(config: ActuatorConfig) -> int:
    """Run supervisor and worker until SIGTERM or SIGINT; 0 when all original settings are restored at the end.

    Raises:
        UsageError: others than root and the actuator's user could change its state or its socket.
        WattlensError: another actuator runs on this state folder, or the journal is damaged.
    """
    _make_folder(config, config.socket.parent, "socket folder")
    switch = config.kill_switch.path
    if switch is not None:
        _require_safe(config, switch.parent, "folder of the kill switch")
    lock = _instance_lock(config, _LOCK_WAIT_S)
    stop = Stop()
    try:
        _restore(config, 0.0, lambda: None)  # settings of an earlier actuator; a damaged journal ends serve here
        back_off = _BACK_OFF_S[0]
        while True:
            started = time.monotonic()
            code = _one_worker(config, stop)
            clean = _restore(config, _STOP_S / 2 if stop.asked else 0.0, lambda: None)
            if stop.asked:
                return 0 if clean else 1
            settings = "restored" if clean else "not all restored yet"
            LOG.error("worker ended (%s); settings are %s; starting another", code, settings)
            back_off = _BACK_OFF_S[0] if time.monotonic() - started > _STEADY_S else min(back_off * 2, _BACK_OFF_S[1])
            if select.select([stop.reader], [], [], back_off)[0]:
                return 0 if _restore(config, _STOP_S / 2, lambda: None) else 1
    finally:
        stop.close()
        os.close(lock)


def restore(config: ActuatorConfig, seconds: float = 10.0) -> tuple[list[RestoreResult], bool]:
    """Restore settings left by a dead actuator (`wattlens dvfs restore`); return the results and whether all are done.

    Raises:
        UsageError: users other than root and the actuator's own could change its state.
        WattlensError: an actuator is alive on this state folder.
    """
    lock = _instance_lock(config, 0.0)
    results: list[RestoreResult] = []
    try:
        return results, _restore(config, seconds, lambda: None, results)
    finally:
        os.close(lock)


def _one_worker(config: ActuatorConfig, stop: Stop) -> int:
    """Start a worker and stay until it is dead; its wait status."""
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            mine.close()
            stop.close()
            code = _work(config, theirs)
        except WattlensError as error:
            LOG.error("%s", error)
        except Exception:
            LOG.exception("worker failed")
        finally:
            os._exit(code)
    theirs.close()
    watch, deadline = PeerHeartbeat(mine), None
    try:
        while True:
            select.select([mine, stop.reader], [], [], 0.5)
            with contextlib.suppress(BlockingIOError):
                stop.reader.recv(64)
            alive = watch.service()
            if stop.asked:
                deadline = deadline or time.monotonic() + _STOP_S
                os.kill(pid, signal.SIGTERM)  # each round: one sent before the worker has its handler would be lost
            if not alive or (deadline is not None and time.monotonic() > deadline):
                return _bury(pid, _END_S if watch.gone else 0.0)
    finally:
        mine.close()


def _bury(pid: int, patience_s: float) -> int:
    """Wait for the worker to exit. Kill it if it does not, because it must not write while the supervisor restores settings."""
    end = time.monotonic() + patience_s
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            LOG.error("worker %d does not respond; killing it", pid)
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1]
        time.sleep(0.02)


def _work(config: ActuatorConfig, pair: socket.socket) -> int:
    watch, stop = PeerHeartbeat(pair), Stop()
    history = _history(config)
    knobs = _knobs(config, watch.service)
    core = _core(config, ActuatorJournal(config.state / "actuator.journal"), knobs, history)
    return ActuatorWorker(core, config.socket, watch, stop, history, config.kill_switch).run()


def _history(config: ActuatorConfig) -> ActuatorHistory:
    return ActuatorHistory(config.state / "actuator.history")


def _knobs(config: ActuatorConfig, waiting: Callable[[], object]) -> ForkedKnobs:
    return ForkedKnobs(config.open_nvml, config.state / "locks", config.timeout_s, waiting=waiting)


def _core(config: ActuatorConfig, journal: ActuatorJournal, knobs: ForkedKnobs, history: ActuatorHistory) -> ActuatorCore:
    return ActuatorCore(
        allow=config.allow,
        journal=journal,
        knobs=knobs,
        epoch=config.epoch,
        boot_ns=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        utc_ns=config.utc_ns,
        killed=config.kill_switch.is_on,
        did=history.add,
    )


def _restore(
    config: ActuatorConfig, seconds: float, waiting: Callable[[], object], into: list[RestoreResult] | None = None
) -> bool:
    journal = ActuatorJournal(config.state / "actuator.journal")
    knobs = _knobs(config, waiting)
    try:
        core = _core(config, journal, knobs, _history(config))

        def once() -> list[RestoreResult]:
            results = core.restore_all()
            for one in results:
                LOG.log(logging.INFO if one.closed else logging.WARNING, "%s %s: %s", one.device, one.knob, one.outcome)
            if into is not None:
                into[:] = [r for r in into if r.closed] + results
            return results

        return restore_until(once, seconds, waiting)
    finally:
        knobs.close()  # a worker that starts next needs the devices' locks
        journal.close()


def _make_folder(config: ActuatorConfig, folder: Path, key: str) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{key} {folder}: cannot create: {error.strerror}; choose another path") from error
    _require_safe(config, folder, key)


def _require_safe(config: ActuatorConfig, folder: Path, key: str) -> None:
    require_safe(folder, key, folders_above=not config.simulated)


def _instance_lock(config: ActuatorConfig, seconds: float) -> int:
    state, end = config.state, time.monotonic() + seconds
    path = state / "actuator.lock"
    _make_folder(config, state, "state folder")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise WattlensError(f"{state}: cannot use this state folder: {error.strerror}; choose another --state") from error
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(fd)
                raise WattlensError(f"{state}: another actuator uses this state folder (pid {holder}); stop it first") from None
            time.sleep(0.1)
        else:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            return fd
