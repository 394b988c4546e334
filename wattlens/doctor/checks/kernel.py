"""What the agent asks of the kernel beside files: memfd, pidfd, eventfd, CLOCK_BOOTTIME."""

import os
import platform
import time
from collections.abc import Callable, Iterator

from wattlens.doctor.facts import Facts
from wattlens.doctor.finding import Check, Finding, Status


def _works(make: Callable[[], int]) -> str:
    try:
        os.close(make())
    except (OSError, AttributeError) as error:
        return str(error)
    return ""


def _look(facts: Facts) -> Iterator[Finding]:
    del facts
    tried = {
        "memfd": _works(lambda: os.memfd_create("wattlens-doctor")),
        "pidfd": _works(lambda: os.pidfd_open(os.getpid())),
        "eventfd": _works(lambda: os.eventfd(0)),
    }
    good = [name for name, error in tried.items() if not error]
    text = f"Linux {platform.release()}"
    if tried["memfd"] or not hasattr(time, "CLOCK_BOOTTIME"):
        means = f"{text}: no memfd ({tried['memfd']}), by which a hanging driver is noticed"
        yield Finding(
            Status.FAIL, "kernel", means, "Linux 3.17 or newer; allow memfd_create in the seccomp profile", stops=True
        )
    elif len(good) < len(tried):
        lacking = ", ".join(sorted(tried.keys() - set(good)))
        means = f"{text}: {lacking} not usable; ends of processes are found out by polling"
        yield Finding(Status.WARN, "kernel", means, "Linux 5.3 or newer; allow them in the seccomp profile")
    else:
        yield Finding(Status.OK, "kernel", f"{text}: {', '.join(good)}")


SPEC = Check("kernel features", "node", _look)
