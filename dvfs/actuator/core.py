"""The actuator's core: requests under a lease become writes; every end of a lease becomes a restore.

No sockets, processes or NVML here: devices are behind the `Knobs` port, disk behind the journal, time is a function. The order
of a set is: lease, kill switch, reading, guard, journal (fsync), write, read back, journal. Restore is compare-and-restore, in
reverse order of the first writes, and is tried again until it succeeds.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dvfs.actuator.allow_list import AllowList
from dvfs.actuator.guard import ActuatorRefusalError, Permit, baseline_fits, permit
from dvfs.actuator.knobs.nvml import KnobError, KnobReading, KnobWrite, WriteResult
from dvfs.actuator.knobs.port import Knobs, RestoreResult
from dvfs.actuator.lease import GRACE_S, NS, Lease, Leases
from dvfs.actuator.records.history import KnobChange
from dvfs.actuator.records.journal import ActuatorJournal, Epoch, Outstanding, Value
from dvfs.actuator.records.note import SettingNote
from dvfs.actuator.wire import first_page
from dvfs.types import DeviceLimits, Knob, Setting

MAX_TTL_S = 60.0
_RETRY_S = (1.0, 5.0)  # between tries of a restore that fails: first, and at most


class ActuatorCore:
    """See the module. One thread calls it."""

    def __init__(
        self,
        allow: AllowList,
        journal: ActuatorJournal,
        knobs: Knobs,
        epoch: Callable[[], Epoch],
        boot_ns: Callable[[], int],
        utc_ns: Callable[[], int],
        killed: Callable[[], bool] = lambda: False,
        grace_s: float = GRACE_S,
        did: Callable[[KnobChange], object] = lambda _: None,
    ) -> None:
        """Read and write nothing yet. `killed` returns whether the kill switch is on; `did` receives every change."""
        self._allow = allow
        self._journal = journal
        self._knobs = knobs
        self._epoch = epoch
        self._boot_ns = boot_ns
        self._utc_ns = utc_ns
        self._killed = killed
        self._did = did
        self._leases = Leases(int(grace_s * NS))
        self._index: dict[str, int] = {}
        self._settings: dict[str, Setting] = {}
        self._waiting: dict[tuple[str, Knob], str] = {}  # knob -> why its restore waits
        self._retry_s = _RETRY_S[0]
        self._next_retry_ns = self._next_look_ns = 0
        self.last_restored: list[RestoreResult] = []

    # Requests. Each answers with a dict that fits the wire, or raises ActuatorRefusalError.

    def acquire(self, connection: int, holder: str, devices: tuple[str, ...], ttl_s: float) -> dict[str, Any]:
        """Grant a lease on all of `devices`, or refuse naming the first reason."""
        self._unless_killed()
        if not 1 <= ttl_s <= MAX_TTL_S:
            raise ActuatorRefusalError("bad_request", f"ttl_s: expected a number from 1 to {MAX_TTL_S:g}")
        unread = self._look() if any(device not in self._index for device in devices) else ""
        for device in devices:
            if device not in self._index and unread:
                raise ActuatorRefusalError(unread, f"the driver did not list its devices ({unread}), so {device} is unknown")
            if not self._limits(device).knobs:
                raise ActuatorRefusalError("not_allowed", f"{device} is not in the allow-list")
        now = self._boot_ns()
        lease = self._leases.acquire(secrets.token_hex(16), holder, devices, connection, int(ttl_s * NS), now)
        try:
            self._claim(devices)
        except BaseException:
            self._leases.drop(lease.token)
            raise
        return {"lease": lease.token, "ttl_s": ttl_s}

    def _claim(self, devices: tuple[str, ...]) -> None:
        self.restore([o for o in self._journal.outstanding if o.device in devices], "retry")
        for device in devices:
            pending = [o for o in self._journal.outstanding if o.device == device]
            if pending:
                why = self._waiting.get(pending[0].key, "unknown")
                raise ActuatorRefusalError(
                    "restore_pending", f"{device}: an earlier {pending[0].knob} setting is not restored yet ({why})"
                )
            if self._read(device).mig:
                raise ActuatorRefusalError("mig", f"{device} is in MIG mode: other workloads may use its instances")

    def set(
        self, connection: int, token: str, device: str, setting: Setting, note: SettingNote | None = None
    ) -> dict[str, Any]:
        """Apply `setting` to `device`; None restores a knob to its original value. `note`: why."""
        lease = self._leases.get(token, connection)
        if device not in lease.devices:
            raise ActuatorRefusalError("not_leased", f"{device} is not part of this lease")
        self._unless_killed()
        reading = self._read(device)
        limits = self._limits(device)
        before = self._journal.get(device, "power")
        original_mw = before.backup if before is not None else reading.power_limit_mw
        allowed = permit(setting, limits, reading.constraints, original_mw if isinstance(original_mw, int) else None)
        writes = self._plan(device, allowed, limits, reading)
        self._give_back(device, allowed, note.reason if note is not None else "")
        answers = self._write(lease, device, writes, note)
        self._settings[device] = allowed.setting
        clock = next((a for a in answers if a.sm_clock_mhz is not None), None)
        return {
            "setting": allowed.setting.as_json(),
            "sm_clock_mhz": clock.sm_clock_mhz if clock else None,
            "reasons": sorted({reason for a in answers for reason in a.reasons}),
        }

    def heartbeat(self, connection: int, token: str) -> dict[str, Any]:
        """Renew a lease."""
        self._unless_killed()
        lease = self._leases.heartbeat(token, connection, self._boot_ns())
        return {"left_s": lease.ttl_ns / NS}

    def release(self, connection: int, token: str, reason: str = "") -> dict[str, Any]:
        """End a lease and restore its devices before responding. `reason`: a single word for the history.

        Results of knobs not yet restored come first; `more` knobs did not fit in the response.
        """
        ended = sorted(self._end(self._leases.get(token, connection), "request", reason), key=lambda r: r.closed)
        rows = first_page([[r.device, r.knob, r.outcome] for r in ended])
        return {"restored": rows, "more": len(ended) - len(rows)}

    def status(self, offset: int) -> dict[str, Any]:
        """Devices from `offset` on, as many as fit in a response; `next` is the next offset or None."""
        now = self._boot_ns()
        if now >= self._next_look_ns:  # a reading needs a child and the driver's lock, and any client may request the status
            self._next_look_ns = now + NS
            self._look()
        rows = []
        devices = sorted(self._index, key=lambda u: (self._index[u], u))
        devices += sorted({o.device for o in self._journal.outstanding} - set(devices))
        for device in devices[offset : offset + 6]:
            lease = self._leases.holder(device)
            knobs = [o for o in self._journal.outstanding if o.device == device]
            rows.append(
                {
                    "device": device,
                    "index": self._index.get(device),
                    "knobs": sorted(self._limits(device).knobs),
                    "holder": lease.holder if lease else "",
                    "left_s": round((lease.expires_ns - self._boot_ns()) / NS, 1) if lease else None,
                    "setting": self._settings.get(device, Setting()).as_json(),
                    "changed": {o.knob: self._waiting.get(o.key, "leased") for o in knobs},
                    "original_power_limit_mw": next((o.backup for o in knobs if o.knob == "power"), None),
                }
            )
        page = first_page(rows)
        following = offset + len(page)
        return {"devices": page, "next": following if following < len(devices) else None, "killed": self._killed()}

    # Ends of leases.

    def closed(self, connection: int) -> None:
        """The peer is gone: the grace begins."""
        self._leases.closed(connection, self._boot_ns())

    def tick(self) -> None:
        """Expire leases, obey the kill switch, and try waiting restores again. To be called about twice a second."""
        if self._killed():
            for lease in self._leases:
                self._end(lease, "killed")
        for lease in self._leases.expired(self._boot_ns()):
            self._end(lease, "expired")
        if self._boot_ns() >= self._next_retry_ns:
            open_knobs = self._journal.outstanding
            waiting = [o for o in open_knobs if o.key in self._waiting or self._leases.holder(o.device) is None]
            self.restore(waiting, "retry")

    def restore_all(self) -> list[RestoreResult]:
        """End every lease and restore everything outstanding, of earlier processes too."""
        for lease in self._leases:
            self._leases.drop(lease.token)
        return self.restore(self._journal.outstanding, "start")

    def restore(self, outstanding: list[Outstanding], cause: str, reason: str = "") -> list[RestoreResult]:
        """Compare and restore these knobs, last written first; failed ones stay in the journal and are retried.

        `cause`, and the `reason` given by the owner, are recorded with each action.
        """
        if not outstanding:
            return []
        epoch, results = self._epoch(), []
        plan: dict[str, list[Outstanding]] = {}
        for one in reversed(outstanding):
            if one.epoch != epoch:
                results.append(self._close(one, "new_epoch", None, cause, reason))
            else:
                plan.setdefault(one.device, []).append(one)
        answers = self._knobs.write({d: [KnobWrite(o.knob, o.backup, o.ours) for o in os] for d, os in plan.items()})
        for device, knobs in plan.items():
            for one, answer in zip(knobs, answers[device], strict=True):
                if answer.status in ("ok", "foreign"):
                    outcome = {"ok": "restored"}.get(answer.status, answer.status)
                    results.append(self._close(one, outcome, answer.read_back, cause, reason))
                    continue
                if answer.status == "differs" and answer.read_back is not None:
                    self._journal.settled(device, one.knob, answer.read_back)
                self._waiting[one.key] = answer.status
                results.append(RestoreResult(device, one.knob, answer.status, answer.read_back))
        self._retry_s = _RETRY_S[0] if all(r.closed for r in results) else min(self._retry_s * 2, _RETRY_S[1])
        self._next_retry_ns = self._boot_ns() + int(self._retry_s * NS)
        self.last_restored = results
        return results

    def _close(self, one: Outstanding, outcome: str, value: Value | None, cause: str, reason: str) -> RestoreResult:
        now = self._utc_ns()
        self._journal.closed(one.device, one.knob, outcome, now)
        result = "ok" if outcome == "restored" else outcome
        note = None if one.note is None else replace(one.note, reason=reason)
        self._did(KnobChange(now, one.device, one.knob, "restore", value, result, one.holder, cause, note))
        self._waiting.pop(one.key, None)
        if not any(o.device == one.device for o in self._journal.outstanding):
            self._settings.pop(one.device, None)
        return RestoreResult(one.device, one.knob, outcome, value)

    def _end(self, lease: Lease, cause: str, reason: str = "") -> list[RestoreResult]:
        # The lease is removed last: until its devices are restored, no other client can lease them.
        results = self.restore([o for o in self._journal.outstanding if o.device in lease.devices], cause, reason)
        self._leases.drop(lease.token)
        return results

    # Parts of a set.

    def _read(self, device: str) -> KnobReading:
        try:
            return self._knobs.read(device)
        except KnobError as error:
            raise ActuatorRefusalError(error.code, f"{device} could not be read ({error.code}); nothing was written") from error

    def _plan(self, device: str, allowed: Permit, limits: DeviceLimits, reading: KnobReading) -> list[KnobWrite]:
        writes: list[KnobWrite] = []
        if allowed.power_mw is not None:
            before = self._journal.get(device, "power")
            now = reading.power_limit_mw
            if now is None:
                raise ActuatorRefusalError("not_supported", f"{device} does not report its power limit")
            if reading.out_of_band:
                raise ActuatorRefusalError("out_of_band", f"{device}: a BMC or another manager enforces the power limit")
            mine = (now,) if before is None else (before.backup, *before.ours)
            if now not in mine:
                raise ActuatorRefusalError(
                    "foreign_change", f"{device}: another program set its limit to {now} mW; it is not changed"
                )
            writes.append(KnobWrite("power", allowed.power_mw, mine))
        if allowed.clock_mhz is not None:
            if limits.baseline is None or not baseline_fits(limits.baseline, reading.constraints):
                raise ActuatorRefusalError(
                    "no_baseline", f"{device}: the declared baseline {limits.baseline} is not one of its clocks"
                )
            writes.append(KnobWrite("clock", allowed.clock_mhz))
        return writes

    def _give_back(self, device: str, allowed: Permit, reason: str) -> None:
        kept = {k for k, v in (("power", allowed.power_mw), ("clock", allowed.clock_mhz)) if v is not None}
        ended = [o for o in self._journal.outstanding if o.device == device and o.knob not in kept]
        results = self.restore(ended, "request", reason)
        stuck = next((r for r in results if not r.closed), None)
        if stuck:
            raise ActuatorRefusalError(stuck.outcome, f"{device}: the {stuck.knob} setting is not restored yet")

    def _write(self, lease: Lease, device: str, writes: list[KnobWrite], note: SettingNote | None) -> list[WriteResult]:
        if not writes:
            return []
        baseline = self._limits(device).baseline
        originals: dict[str, Value | None] = {
            "power": next((w.expected[0] for w in writes if w.expected), None),
            "clock": baseline,
        }
        intents = [(device, w.knob, f, w.value) for w in writes if (f := originals[w.knob]) is not None]
        self._journal.intend(self._epoch(), lease.holder, self._utc_ns(), intents, note)
        answers = self._knobs.write({device: writes})[device]
        bad: WriteResult | None = None
        for one, answer in zip(writes, answers, strict=True):
            if answer.status in ("ok", "differs") and answer.read_back is not None:
                self._journal.settled(device, one.knob, answer.read_back)
            self._did(
                KnobChange(self._utc_ns(), device, one.knob, "set", one.value, answer.status, lease.holder, "request", note)
            )
            if answer.status != "ok":
                bad = bad or answer
        if bad is not None:
            # All or nothing: a partly applied setting serves no client. Behind a stuck writer the restore waits for a tick.
            half = [o for o in self._journal.outstanding if o.device == device]
            if bad.status in ("timeout", "busy"):
                self._waiting.update({o.key: bad.status for o in half})
            else:
                self.restore(half, "refused")
            code = "foreign_change" if bad.status == "foreign" else bad.status
            raise ActuatorRefusalError(code, f"{device}: the write had no effect ({bad.status}); it is reverted")
        return answers

    def _limits(self, device: str) -> DeviceLimits:
        index = self._index.get(device)
        return DeviceLimits() if index is None else self._allow.limits(device, index)

    def _look(self) -> str:
        """List the devices; the code of the error where the driver does not. Those known so far stay known then."""
        try:
            self._index.update({d.uuid: d.index for d in self._knobs.inventory()})
        except KnobError as error:
            return error.code
        return ""

    def _unless_killed(self) -> None:
        if self._killed():
            raise ActuatorRefusalError("killed", "the kill switch is on; remove its file to allow settings again")
