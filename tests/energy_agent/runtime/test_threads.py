"""Ctrl-C at each moment of a thread's start is one KeyboardInterrupt, and the thread runs all the same."""

import signal
import subprocess
import sys
import threading

import pytest

from energy_agent.runtime.threads import start_thread
from tests.support import eventually

PRESS = """
import gc, os, signal, sys, threading
from energy_agent.runtime.threads import start_thread
gc.disable()  # it would end former threads at some moment, in a callback of their weak set, and Python drops a Ctrl-C there

def interrupted_at(moment):
    left, ran, outcome = [moment], [], "started"

    def press(frame, event, _):
        left[0] -= 1
        if not left[0]:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=lambda: ran.append(1), daemon=True)
    sys.setprofile(press)
    try:
        start_thread(thread)
        sys.setprofile(None)
    except BaseException as error:
        sys.setprofile(None)
        outcome = type(error).__name__
    if thread.ident is not None:
        thread.join()
    return outcome, bool(ran), signal.getsignal(signal.SIGINT) is signal.default_int_handler

moment = 1
while (result := interrupted_at(moment))[0] != "started":
    print(*result)
    moment += 1
"""


def test_an_interrupt_at_any_moment_of_the_start_is_a_keyboard_interrupt_after_it():
    done = subprocess.run([sys.executable, "-c", PRESS], capture_output=True, text=True, check=True)
    outcomes = done.stdout.splitlines()
    started = [line for line in outcomes if line != "KeyboardInterrupt False True"]  # those were pressed before it began
    assert len(started) > 20
    assert set(started) == {"KeyboardInterrupt True True"}
    assert done.stderr == ""


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, signal.default_int_handler])
def test_what_ctrl_c_does_afterwards_is_what_it_did_before(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        thread = threading.Thread(target=lambda: None, daemon=True)
        start_thread(thread)
        thread.join()
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_may_start_another():
    ran = []

    def start_another():
        start_thread(threading.Thread(target=lambda: ran.append(1), daemon=True))

    start_thread(threading.Thread(target=start_another, daemon=True))
    assert eventually(lambda: ran) == [1]
