"""Sensor parameters from a capture file, which `wattlens doctor --sensors GPU --out FILE` writes. The file is hostile input."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from energy_agent.core.errors import UsageError
from energy_agent.node.sensor_file import MAX_B
from energy_agent.runtime.files import json_file
from energy_agent.sim.gpu.sensors import sensor_number

_MAX_ROWS: Final = 200_000
_Row = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


@dataclass(frozen=True, slots=True)
class CapturedValue:
    """What the doctor measured of one parameter; None where it is absent."""

    value: Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)] | Annotated[str, Field(max_length=32)] | None = None


@dataclass(frozen=True, slots=True)
class CapturedGpu:
    """One GPU: measured parameters by the names of SENSOR_PARAMETERS, and the changes that they come from."""

    sensors: Annotated[dict[str, CapturedValue], Field(max_length=64)]
    name: Annotated[str, Field(max_length=128)] = ""
    changes: Annotated[dict[str, Annotated[list[_Row], Field(max_length=_MAX_ROWS)]], Field(max_length=3)] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class SensorCapture:
    """A capture file. `simulated`: of a simulated GPU."""

    schema: Literal["wattlens-sensors/1"]
    simulated: bool
    boards: Annotated[tuple[CapturedGpu, ...], Field(min_length=1, max_length=1)]
    driver: Annotated[str, Field(max_length=80)] = ""


_CAPTURE: TypeAdapter[Any] = TypeAdapter(SensorCapture)


def shipped_captures() -> dict[str, Path]:
    """Captures that come with the package, by name."""
    return {path.name.removesuffix(".json.gz"): path for path in sorted((Path(__file__).parent / "captures").glob("*.json.gz"))}


def read_capture(path: Path) -> SensorCapture:
    """The content of a capture file.

    Raises:
        UsageError: it cannot be read, is too large, or is not such a file; names the file and the key.
    """
    capture = json_file.load(_CAPTURE, path, MAX_B)
    assert isinstance(capture, SensorCapture)
    return capture


def captured_sensors(path: Path) -> dict[str, float]:
    """The measured parameters of a capture file, as the plant takes them: times in whole ms. Absent ones are left out.

    Raises:
        UsageError: as of `read_capture`, or a value is out of its range.
    """
    values: dict[str, float] = {}
    for name, measured in read_capture(path).boards[0].sensors.items():
        if measured.value is None:
            continue
        value = measured.value
        if isinstance(value, float) and name.endswith("jitter_ms"):
            value = math.sqrt(0.25 + value**2) - 0.5  # whole shifts from -j to j have the variance of a uniform law to j + 1/2
        if isinstance(value, float) and name != "average_tau_ms":
            value = float(round(value))
        try:
            values[name] = sensor_number(name, value)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
    if values.get("average_clock") and not values.get("average_window_ms") and not values.get("average_tau_ms"):
        values["average_window_ms"] = 1000.0  # assumed: published for every GPU that has an average
    return values
