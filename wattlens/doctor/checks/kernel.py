"""Kernel features that the agent needs in addition to files: memfd, pidfd, eventfd, CLOCK_BOOTTIME."""

import os
import platform
import time
from collections.abc import Callable

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, fail, ok, warn


def _works(make: Callable[[], int]) -> str:
    try:
        os.close(make())
    except (OSError, AttributeError) as error:
        return str(error)
    return ""


def _look(facts: CheckContext) -> Findings:
    del facts
    tried = {
        "memfd": _works(lambda: os.memfd_create("wattlens-doctor")),
        "pidfd": _works(lambda: os.pidfd_open(os.getpid())),
        "eventfd": _works(lambda: os.eventfd(0)),
    }
    good = [name for name, error in tried.items() if not error]
    text = f"Linux {platform.release()}"
    if tried["memfd"] or not hasattr(time, "CLOCK_BOOTTIME"):
        yield fail(
            "kernel",
            f"{text}: no memfd ({tried['memfd']}), which is needed to detect a hanging driver",
            "use Linux 3.17 or newer; allow memfd_create in the seccomp profile",
            stops=True,
        )
    elif len(good) < len(tried):
        unusable = ", ".join(sorted(tried.keys() - set(good)))
        yield warn(
            "kernel",
            f"{text}: {unusable} not usable; the agent polls for exited processes",
            "use Linux 5.3 or newer; allow them in the seccomp profile",
        )
    else:
        yield ok("kernel", f"{text}: {', '.join(good)}")


SPEC = DoctorCheck("kernel features", "node", _look)
