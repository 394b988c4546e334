"""Starts threads, with Ctrl-C postponed until they run, and lets processes start without Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    `Thread.start` waits for the new thread with a lock that both share. A KeyboardInterrupt within that wait makes the main
    thread release the lock while the new thread owns it, and the new thread ends with a traceback. So a Ctrl-C that arrives
    meanwhile is handled right after it.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        thread.start()  # no KeyboardInterrupt is raised here
        return
    frames: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _number, frame: frames.append(frame))
    try:
        thread.start()
    finally:
        signal.signal(signal.SIGINT, handler)
    if frames:
        handler(signal.SIGINT, frames[0])


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes within it that SIGINT does not reach.

    A session of its own is not enough: a process enters it a moment after it was forked, and a Ctrl-C before that ends it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
