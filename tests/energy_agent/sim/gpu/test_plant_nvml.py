"""Corners of the simulated NVML library that clients reach through pynvml and Wattlens does not: layouts, versions, stubs."""

import os

import pynvml
import pytest

from tests.doubles.gpus import H100

GIB = 1 << 30


@pytest.fixture
def node(gpus):
    rig = gpus(H100, "A40")
    return rig, rig.devices[0]


def code_of(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except pynvml.NVMLError as error:
        return int(error.value)
    return 0


def test_both_layouts_of_memory_and_of_processes_hold_together(node):
    rig, device = node
    for n in (1, 2, 3):
        rig.attach(memory_b=n * GIB)
    first, second = pynvml.nvmlDeviceGetMemoryInfo(device), pynvml.nvmlDeviceGetMemoryInfo(device, version=pynvml.nvmlMemory_v2)
    assert first.total == second.total == 80 * GIB
    assert second.used == 6 * GIB
    assert second.used + second.free + second.reserved == second.total
    assert first.used == second.used + second.reserved
    assert code_of(pynvml.nvmlDeviceGetMemoryInfo, device, version=0x01000028) == pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    for get in (pynvml.nvmlDeviceGetComputeRunningProcesses_v2, pynvml.nvmlDeviceGetComputeRunningProcesses_v3):
        processes = get(device)
        assert [(p.pid, p.usedGpuMemory) for p in processes] == [(os.getpid(), n * GIB) for n in (1, 2, 3)]
        assert {p.gpuInstanceId for p in processes} == {0xFFFFFFFF}
    assert pynvml.nvmlDeviceGetGraphicsRunningProcesses(device) == []


def test_the_bus_id_finds_its_device_in_every_spelling(node):
    pci = pynvml.nvmlDeviceGetPciInfo(node[1])
    assert pci.busId == f"{pci.domain:08X}:{pci.bus:02X}:{pci.device:02X}.0"
    assert pci.busIdLegacy == pci.busId[4:]
    assert pci.pciDeviceId & 0xFFFF == 0x10DE
    for spelling in (pci.busId, pci.busId.lower(), pci.busIdLegacy, pci.busId[9:]):
        assert pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByPciBusId(spelling.encode())) == 0
    assert code_of(pynvml.nvmlDeviceGetHandleByPciBusId, b"0000:FF:00.0") == pynvml.NVML_ERROR_NOT_FOUND


def test_calls_in_two_versions_agree(node):
    _, device = node
    assert pynvml.nvmlDeviceGetTemperatureV(device, 0) == pynvml.nvmlDeviceGetTemperature(device, 0)
    shutdown, slowdown = (pynvml.nvmlDeviceGetTemperatureThreshold(device, n) for n in (0, 1))
    assert pynvml.nvmlDeviceGetTemperature(device, 0) < slowdown < shutdown
    for limit_mw in (500_000, 5_000):  # pynvml drops the newer call's return code: only a read shows the result
        pynvml.nvmlDeviceSetPowerManagementLimit_v2(device, pynvml.NVML_POWER_SCOPE_GPU, limit_mw)
        assert pynvml.nvmlDeviceGetPowerManagementLimit(device) == 500_000


def test_persistence_mode_can_be_set_and_what_is_not_there_answers_not_supported(node):
    _, device = node
    pynvml.nvmlDeviceSetPersistenceMode(device, 0)
    assert pynvml.nvmlDeviceGetPersistenceMode(device) == 0
    assert code_of(pynvml.nvmlDeviceSetPersistenceMode, device, 2) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    for call, arguments in (
        (pynvml.nvmlDeviceSetApplicationsClocks, (2619, 1005)), (pynvml.nvmlDeviceGetApplicationsClock, (0,)),
        (pynvml.nvmlDeviceSetMemoryLockedClocks, (2619, 2619)), (pynvml.nvmlDeviceGetViolationStatus, (0,)),
        (pynvml.nvmlDeviceGetFanSpeed, ()), (pynvml.nvmlDeviceGetNvLinkVersion, (0,)), (pynvml.nvmlDeviceGetSamples, (0, 0)),
    ):  # fmt: skip
        assert code_of(call, device, *arguments) == pynvml.NVML_ERROR_NOT_SUPPORTED, call.__name__


def test_field_values_carry_the_plants_time_and_their_type(node):
    rig, device = node
    energy, power, unknown = pynvml.nvmlDeviceGetFieldValues(device, [83, 186, 251])
    assert energy.timestamp == rig.plant.now_ns() // 1000
    assert energy.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
    assert power.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
    (module,) = pynvml.nvmlDeviceGetFieldValues(device, [(186, 1)])
    assert unknown.nvmlReturn == module.nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_waiting_for_events_ends_with_an_event_or_in_time(node):
    rig, device = node
    events = pynvml.nvmlEventSetCreate()
    assert pynvml.nvmlDeviceGetSupportedEventTypes(device) == pynvml.nvmlEventTypeXidCriticalError
    pynvml.nvmlDeviceRegisterEvents(device, pynvml.nvmlEventTypeXidCriticalError, events)
    assert code_of(pynvml.nvmlEventSetWait_v2, events, 50) == pynvml.NVML_ERROR_TIMEOUT
    rig.plant.fault(0, "xid", value=48)
    event = pynvml.nvmlEventSetWait_v2(events, 10_000)
    assert (event.eventType, event.eventData, event.gpuInstanceId) == (8, 48, 0xFFFFFFFF)
    assert pynvml.nvmlDeviceGetUUID(event.device) == rig.plant.uuid(0)
    pynvml.nvmlEventSetFree(events)


def test_errors_have_words_and_a_process_its_name(node):
    assert str(pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)) == "GPU is lost"
    assert pynvml.nvmlErrorString(12345) == "Unknown Error"
    assert pynvml.nvmlSystemGetProcessName(os.getpid())
    assert code_of(pynvml.nvmlSystemGetProcessName, 2**31 - 2) == pynvml.NVML_ERROR_NOT_FOUND
