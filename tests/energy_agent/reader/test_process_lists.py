"""Which sweeps list the processes of which GPUs, on the simulated driver."""

import os

from energy_agent.devices.nvml.backend import NvmlBackend
from energy_agent.reader.main import Reader
from energy_agent.reader.mark import Marker
from energy_agent.reader.wire import DeviceSweep
from energy_agent.runtime.clock import clock_for
from tests.doubles.gpus import H100, S


def test_lists_shared_gpus_every_period_and_others_after_three_or_a_change(gpus) -> None:
    node = gpus(H100, H100)
    for gpu in (0, 1, 1):
        node.attach(gpu, memory_b=1 << 30)
    clock, mark = clock_for(os.environ), Marker(None)
    reader = Reader(NvmlBackend(node.nvml, clock, mark), clock, mark, {}, 5 * S)
    reader.open()

    def listed(seconds: int) -> list[list[int]]:
        """For each second, the GPUs of which processes were listed."""
        sweeps = []
        for _ in range(seconds):
            (sweep,) = (message for message in reader.sweep(full=True) if isinstance(message, DeviceSweep))
            sweeps.append([gpu for gpu, sample in enumerate(sweep.samples) if sample.processes is not None])
            node.step(1)
        return sweeps

    alone, shared, none = [0, 1], [1], list[int]()
    assert listed(16) == [alone, *([none] * 4 + [shared]) * 2, *[none] * 4, alone]
    node.attach(0, memory_b=1 << 30)
    assert listed(2) == [[0], none]
    reader.command(b'{"list_processes": true}')
    assert listed(1) == [alone]
    node.nvml.shutdown()  # of `open`


def test_lists_any_number_of_processes_with_their_memory(gpus) -> None:
    node = gpus(H100)
    memory_b = [k << 20 for k in range(1, 33)]
    for size_b in memory_b:
        node.attach(memory_b=size_b)
    assert node.nvml.compute_processes(node.devices[0]) == [(os.getpid(), size_b) for size_b in memory_b]
