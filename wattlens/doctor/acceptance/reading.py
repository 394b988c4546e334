"""Readings of the raw energy counter of every GPU, by the doctor's child: ten times per second.

Near both ends of the comparison it reads more often, so that the counter's value at the agent's first and last reading is known
to a tick.
"""

from collections.abc import Callable
from typing import Any, Final

from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml

DENSE_S: Final = 3.0
_DENSE_PERIOD_S: Final = 0.01
_PERIOD_S: Final = 0.1
_SEND_NS: Final = NS_PER_S // 4


def read_counters(
    nvml: RealNvml,
    handles: dict[int, Any],
    clock: Clock,
    seconds: float,
    mark: Callable[[int | None, str], None],
    send: Callable[..., None],
) -> None:
    """Read for `seconds` of the clock.

    Args:
        nvml: initialised.
        handles: by index.
        clock: of the node.
        seconds: how long.
        mark: marks the call that is under way, with its GPU; None and "": none is.
        send: sends `counters` with rows [index, UTC ns before, after, mJ] and the boot clock, or `gone`.
    """
    rows: list[tuple[int, int, int, int]] = []
    began_ns = sent_ns = clock.boot_ns()
    while handles:
        now_ns = clock.boot_ns()
        passed_s = (now_ns - began_ns) / NS_PER_S
        for index, handle in list(handles.items()):
            mark(index, "GetFieldValues")
            before_ns = clock.utc_ns()
            try:
                energy_mj = _read(nvml, handle)
            except NvmlError as error:
                del handles[index]
                send("gone", index=index, reason=error.name, call=error.call)
                continue
            rows.append((index, before_ns, clock.utc_ns(), energy_mj))
        mark(None, "")
        if now_ns - sent_ns >= _SEND_NS or passed_s >= seconds:
            sent_ns = now_ns
            send("counters", rows=rows, utc_ns=clock.utc_ns(), boot_ns=clock.boot_ns())
            rows = []
        if passed_s >= seconds:
            return
        clock.sleep(_DENSE_PERIOD_S if min(passed_s, seconds - passed_s) < DENSE_S else _PERIOD_S)


def _read(nvml: RealNvml, handle: object) -> int:
    (answer,) = nvml.field_values(handle, (abi.FIELD_TOTAL_ENERGY,))
    return answer.value if answer.code == abi.SUCCESS else nvml.total_energy_mj(handle)
