"""A sweep's hold on the GPUs and on itself: the lease and its heartbeat, signals as a flag, and the program that it started.

Every wait uses `Hold.pause`, which checks for a signal ten times per second, renews the lease every two seconds and never
waits longer than requested. So a sweep ends within moments of a signal. If a sweep is killed or hangs, the actuator restores
the original settings (dvfs/actuator/lease.py).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from dvfs.actuator.client import ActuatorClient, ActuatorError
from dvfs.actuator.held_lease import HeldLease
from dvfs.actuator.lease import GRACE_S, HEARTBEAT_S
from dvfs.sweep.profile import REFERENCE, Key
from dvfs.types import Setting
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.runtime.parent import end_with_parent

NAME = "wattlens dvfs sweep"
"""What the actuator calls us."""
_LOOK_S = 0.1
_END_S = 10.0  # for a program between SIGTERM and SIGKILL
_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SLOW_DRIVER_S = 30.0  # as long as the actuator lets it open
_PASSING = frozenset({"timeout", "busy", "failed"})  # a driver that is slow may answer the next time
_HINTS = {
    "held": "end that lease first (of the agent's governor: dvfs.mode: observe), or sweep other GPUs",
    "not_allowed": "allow it in the actuator's configuration (docs/dvfs.md)",
    "knob_not_allowed": "allow this knob in the actuator's configuration (docs/dvfs.md)",
    "no_baseline": "declare the clocks' baseline in the actuator's configuration (docs/dvfs.md)",
    "mig": "a sweep needs whole GPUs",
    "killed": "no setting is applied while it is on",
    "no_permission": "the actuator needs root or CAP_SYS_ADMIN",
    "unreachable": "when the actuator ends, it restores all original settings; after a crash, the next one does",
    "expired": (
        "the actuator has restored all original settings; it was restarted, or this machine was too busy to renew the lease"
    ),
}


class EndedError(Exception):
    """A signal asked to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class RefusalError(WattlensError):
    """The actuator refused; the line says what to do."""

    def __init__(self, error: ActuatorError) -> None:
        hint = _HINTS.get(error.code, "")
        super().__init__(f"{error}; {hint}" if hint else str(error))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ActuatorError as error:
        raise RefusalError(error) from None


class Hold:
    """`with Hold(client) as hold`: hears signals; on the way out, whatever happened, the lease ends and the program too."""

    def __init__(self, client: ActuatorClient, report: Callable[[str], None]) -> None:
        """Nothing is held yet. `report` takes what goes wrong at the end."""
        self._client, self._report = client, report
        self._signal = 0
        self._before: dict[int, object] = {}
        self._lease: HeldLease | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._name = ""

    def __enter__(self) -> "Hold":
        heard = [number for number in _HEARD if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup wants it
        self._before = {number: signal.signal(number, self._hear) for number in heard}
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self._release(report=isinstance(error, RefusalError))
        finally:
            self._end_program()
            self._client.close()
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._signal = self._signal or number

    # Waiting.

    def pause(self, seconds: float) -> None:
        """Let real time pass.

        Raises:
            EndedError: a signal asked to end.
            WattlensError: the program has ended, or the lease.
        """
        end_s = time.monotonic() + seconds
        while True:
            if self._signal:
                raise EndedError(self._signal)
            self._look_at_program()
            self._beat()
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(_LOOK_S, left_s))

    def _beat(self) -> None:
        if self._lease is not None:
            with _refusals():
                self._lease.renew(time.monotonic_ns())

    # The lease.

    def require_actuator(self) -> None:
        """Raise RefusalError if no actuator responds."""
        with _refusals():
            self._client.hello()

    def lease(self, devices: Sequence[str]) -> None:
        """Take the lease on all of `devices`; that of a sweep which was killed a moment ago is over soon.

        A driver that did not answer in time is tried again for 30 s, and a line says so.

        Raises:
            RefusalError: the actuator refused.
            EndedError: a signal asked to end.
        """
        began_s, slow = time.monotonic(), False
        while self._lease is None:
            try:
                self._lease = HeldLease(self._client, devices, time.monotonic_ns())
            except ActuatorError as error:
                ours = error.code == "held" and f"leased to {NAME}" in str(error)
                longest_s = GRACE_S + 2 * HEARTBEAT_S if ours else _SLOW_DRIVER_S
                if not (ours or error.code in _PASSING) or time.monotonic() > began_s + longest_s:
                    raise RefusalError(error) from None
                if not ours and not slow:
                    slow = True
                    self._report(f"{error}; trying again for {_SLOW_DRIVER_S:.0f} s")
                self.pause(0.5)

    def set(self, key: Key) -> Key:
        """Make all devices run at a setting; what that comes to within what owner and board allow.

        Raises:
            RefusalError: the actuator refused.
            WattlensError: the devices came to different settings.
        """
        clock, limit_w = key
        wanted = Setting(clock, None if limit_w is None else round(1000 * limit_w))
        assert self._lease is not None
        applied = set()
        for device in self._lease.devices:
            with _refusals():
                applied.add(self._lease.set(device, wanted).setting)
            self._beat()
        if len(applied) != 1:
            raise WattlensError(
                "the actuator allows different settings on these GPUs: configure one rule for them, or sweep each GPU "
                "separately"
            )
        came = applied.pop()
        limit_mw = came.power_limit_mw
        return REFERENCE if key == REFERENCE else (came.sm_clock_max_mhz, None if limit_mw is None else limit_mw / 1000)

    def _release(self, *, report: bool) -> None:
        """End the lease. `report`: what is wrong with the actuator is known already."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            unrestored = [f"{device} {knob}: {outcome}" for device, knob, outcome in lease.release() if outcome != "restored"]
        except ActuatorError as error:
            if not report:
                self._report(
                    f"{error}; the actuator restores all original settings when the lease expires, see wattlens dvfs status"
                )
            return
        for each in unrestored:
            self._report(f"not restored to the original: {each}; see wattlens dvfs status")

    # The program.

    def start(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start the workload; its output goes to standard error, and it ends with us, even where we are killed.

        Raises:
            UsageError: there is no such program, or it cannot be executed.
        """
        parent = os.getpid()

        def begin() -> None:
            end_with_parent()
            if os.getppid() != parent:  # killed before the kernel knew
                os._exit(1)

        self._name = command[0]
        try:
            self._program = subprocess.Popen(
                list(command),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                start_new_session=True,
                preexec_fn=begin,  # no thread runs here
            )
        except OSError as error:
            raise UsageError(f"dvfs sweep: cannot run {command[0]!r}: {error.strerror}") from None

    def _look_at_program(self) -> None:
        code = None if self._program is None else self._program.poll()
        if code is not None:
            raise WattlensError(f"{self._name!r} ended with code {code} before the sweep was done")

    def _end_program(self) -> None:
        program, self._program = self._program, None
        if program is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(program.pid, number)
                program.wait(_END_S)
                break
        program.wait()
