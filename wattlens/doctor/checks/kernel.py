"""Kernel features that the agent needs in addition to files: memfd, pidfd, eventfd, CLOCK_BOOTTIME."""

import os
import platform
import time
from collections.abc import Callable, Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel


def _works(make: Callable[[], int]) -> str:
    try:
        os.close(make())
    except (OSError, AttributeError) as error:
        return str(error)
    return ""


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    del facts
    tried = {
        "memfd": _works(lambda: os.memfd_create("wattlens-doctor")),
        "pidfd": _works(lambda: os.pidfd_open(os.getpid())),
        "eventfd": _works(lambda: os.eventfd(0)),
    }
    good = [name for name, error in tried.items() if not error]
    text = f"Linux {platform.release()}"
    if tried["memfd"] or not hasattr(time, "CLOCK_BOOTTIME"):
        means = f"{text}: no memfd ({tried['memfd']}), which is needed to detect a hanging driver"
        yield DoctorFinding(
            FindingLevel.FAIL, "kernel", means, "use Linux 3.17 or newer; allow memfd_create in the seccomp profile", stops=True
        )
    elif len(good) < len(tried):
        lacking = ", ".join(sorted(tried.keys() - set(good)))
        means = f"{text}: {lacking} not usable; the agent polls for exited processes"
        yield DoctorFinding(FindingLevel.WARN, "kernel", means, "use Linux 5.3 or newer; allow them in the seccomp profile")
    else:
        yield DoctorFinding(FindingLevel.OK, "kernel", f"{text}: {', '.join(good)}")


SPEC = DoctorCheck("kernel features", "node", _look)
