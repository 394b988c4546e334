"""The clocks: is UTC kept by somebody, and does it drift against the clock that durations come from."""

import ctypes
import struct

from wattlens.doctor.finding import CheckContext, DoctorCheck, DoctorFinding, Findings, absent, ok, warn

_TIMEX_B = 208  # struct timex of linux/timex.h on 64-bit machines
_HEAD = struct.Struct("=I4xqqqqi4x")  # modes, offset, freq, maxerror (us), esterror (us), status
_UNSYNC = 0x40  # STA_UNSYNC
_TIME_ERROR = 5
_STEP_NS = 50_000_000
_FIX = "run chrony, systemd-timesyncd or ptp4l on the host"


def _look(facts: CheckContext) -> Findings:
    yield _synchronised()
    if facts.simulate is not None:
        yield ok("time", "UTC and boot clock of the simulated node, the same for every process")
        return
    utc_ns = facts.clock.utc_ns() - facts.began_utc_ns
    boot_ns = facts.clock.boot_ns() - facts.began_boot_ns
    moved_ns = utc_ns - boot_ns
    means = f"UTC drifted by {moved_ns / 1e6:+.3f} ms against the boot clock in {boot_ns / 1e9:.1f} s"
    if abs(moved_ns) > _STEP_NS:
        yield warn(
            "time",
            f"{means}: UTC was stepped; energy is recorded by the boot clock",
            "configure the time service to slew instead of step",
        )
    else:
        yield ok("time", means)


def _synchronised() -> DoctorFinding:
    """By adjtimex with nothing to adjust, which needs no privilege (some containers forbid it all the same)."""
    buffer = ctypes.create_string_buffer(_TIMEX_B)
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "adjtimex") or (state := libc.adjtimex(buffer)) < 0:
        return absent("synchronised", "not available from the kernel here; check the host (timedatectl)")
    _, _, _, most_us, _, status = _HEAD.unpack_from(buffer.raw)
    if state == _TIME_ERROR or status & _UNSYNC:
        return warn("synchronised", "UTC is not synchronised by a time service: cells of different nodes will not align", _FIX)
    if most_us > 1_000_000:
        return warn("synchronised", f"UTC may be wrong by {most_us / 1e6:.1f} s", _FIX)
    return ok("synchronised", f"UTC is synchronised within {most_us / 1e3:.1f} ms")


SPEC = DoctorCheck("synchronised time", "node", _look)
