"""Children that end with the process that started them, even where it is killed."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # prctl(2), Linux


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to send this process a signal when its parent dies. Linux only."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
