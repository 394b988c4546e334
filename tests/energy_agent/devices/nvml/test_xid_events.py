"""XID events of a driver that fails between two of them."""

import ctypes
from types import SimpleNamespace

import pytest

from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import XidEventSet

DEVICE, XID = ctypes.c_void_p(1), 0x8


class Driver:
    """Stands for pynvml: answers each wait for an event with an XID code, or fails with an NVML code below 0."""

    class NVMLError(Exception):
        def __init__(self, value):
            self.value = value

    def __init__(self, *answers):
        self.answers = list(answers)

    def call(self, *_):
        return "GPU-a"  # the UUID; of the other calls any answer will do

    def nvmlEventSetWait_v2(self, _event_set, _timeout_ms):
        answer = self.answers.pop(0)
        if answer < 0:
            raise self.NVMLError(-answer)
        return SimpleNamespace(device=DEVICE, eventType=XID, eventData=answer)


def test_events_before_an_error_are_not_lost_and_the_error_comes_with_the_next_poll():
    driver = Driver(48, 79, -abi.GPU_IS_LOST, -abi.GPU_IS_LOST)
    events = XidEventSet(driver, driver.call, [DEVICE])
    assert events.poll() == [("GPU-a", 48), ("GPU-a", 79)]
    with pytest.raises(NvmlError, match="GPU_IS_LOST"):
        events.poll()
