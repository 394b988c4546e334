"""Common parts of facility meters: the type of a SPEC, and the checks that turn a register into a reading."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from energy_agent.config.section import Section
from energy_agent.core.meters.reading import MeterError, MeterReading, Scope
from energy_agent.core.ports import Clock, PolledMeter
from energy_agent.core.units import UJ_PER_J, UJ_PER_KWH
from energy_agent.site.config.meter import MeterConfig

REGISTER_MAX_UJ: Final = (1 << 64) * UJ_PER_KWH
"""No register counts as far. It is more than 64 bits: 2.6 GWh in uJ fill those, which a large site draws in days."""

ENERGY_UJ: Final = {"J": UJ_PER_J, "kJ": UJ_PER_J * 10**3, "MJ": UJ_PER_J * 10**6, "Wh": UJ_PER_KWH // 10**3,
                    "kWh": UJ_PER_KWH, "MWh": UJ_PER_KWH * 10**3, "GWh": UJ_PER_KWH * 10**6}  # fmt: skip
"""uJ in a unit of energy."""
POWER_MW: Final = {"W": 10**3, "kW": 10**6, "MW": 10**9}
"""mW in a unit of power."""


@dataclass(frozen=True, slots=True)
class FacilitySource:
    """One kind of source: the key `name of its file` of a meter holds its `config`.

    `open` gets that section, the meter and the clock; it raises MeterError where nothing answers now, and is tried again. Each
    reading has the meter's id as its domain and `Scope.FACILITY`.
    """

    summary: str
    config: type[Section]
    open: Callable[[Any, MeterConfig, Clock], PolledMeter]


def reading(
    meter: MeterConfig,
    clock: Clock,
    *,
    energy: Decimal | None = None,
    energy_unit: str = "kWh",
    energy_step: Decimal = Decimal(1),
    wrap: Decimal | None = None,
    power: Decimal | None = None,
    power_unit: str = "W",
    power_step: Decimal = Decimal(1),
    age_s: float = 0.0,
) -> MeterReading:
    """A reading taken now.

    Args:
        meter: the meter that was read.
        clock: gives the time of the reading.
        energy: the energy register, in `energy_unit`.
        energy_unit: a key of ENERGY_UJ.
        energy_step: its resolution, in `energy_unit`.
        wrap: where it goes on at 0, in `energy_unit`; None: nowhere.
        power: power in `power_unit`.
        power_unit: a key of POWER_MW.
        power_step: its resolution, in `power_unit`.
        age_s: the maximum age of the device's values.

    Raises:
        MeterError: neither is there, or one of them is absurd: negative, not finite, or more than there can be.
    """
    if energy is None and power is None:
        raise MeterError("reports neither energy nor power")
    if power is not None and power.is_finite() and power < 0 and energy is not None:
        power = None  # a feed that exports, an inverter at night: the register has the energy in this direction
    for name, value in (("energy", energy), ("power", power)):
        if value is not None and not value.is_finite():
            raise MeterError(f"implausible reading: {name} {value}")
        if value is not None and value < 0:
            raise MeterError(f"implausible reading: {name} {value} is negative")
    most_mw = round(meter.max_power_w * 1000)
    power_mw = None if power is None else int(power * POWER_MW[power_unit])
    if power_mw is not None and power_mw > most_mw:
        raise MeterError(f"implausible reading: {power_mw / 1000:g} W, above the maximum of {most_mw / 1000:g} W")
    unit_uj = ENERGY_UJ[energy_unit]
    energy_uj = None if energy is None else int(energy * unit_uj)
    wrap_uj = None if wrap is None else int(wrap * unit_uj)
    if energy_uj is not None and energy_uj >= REGISTER_MAX_UJ:
        raise MeterError(f"implausible reading: an energy register of {energy:g} {energy_unit}")
    if energy_uj is not None and wrap_uj is not None and energy_uj >= wrap_uj:
        raise MeterError(f"implausible reading: an energy register of {energy:g} {energy_unit}, which wraps at {wrap:g}")
    return MeterReading(
        meter.id,
        Scope.FACILITY,
        clock.utc_ns(),
        clock.boot_ns(),
        energy_uj,
        wrap_uj,
        power_mw,
        most_mw,
        max(1, int(energy_step * unit_uj)),
        max(1, int(power_step * POWER_MW[power_unit])),
        round(age_s * 1e9),
    )
