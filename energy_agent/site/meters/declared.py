"""A constant power that the operator declares instead of a meter. Its energy is recorded as modelled."""

from decimal import Decimal

from pydantic import Field

from energy_agent.config.section import Section
from energy_agent.core.meters.reading import MeterReading
from energy_agent.core.ports import Clock
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters._source import FacilitySource, reading


class Declared(Section):
    """A constant power. Its error is the meter's `accuracy_percent`."""

    power_w: float = Field(ge=0, le=1e10, description="stated power in W")
    basis: str = Field(
        min_length=1,
        max_length=200,
        description="who states the power, and on what basis: a data sheet, a measurement with a clamp meter",
    )


class DeclaredMeter:
    """Answers always the same."""

    def __init__(self, section: Declared, meter: MeterConfig, clock: Clock) -> None:
        self._power = Decimal(repr(section.power_w))
        self._meter, self._clock = meter, clock

    def read(self) -> tuple[MeterReading, ...]:
        """The constant."""
        return (reading(self._meter, self._clock, power=self._power, power_step=Decimal("0.001")),)

    def close(self) -> None:
        """Nothing is held."""


SPEC = FacilitySource("a stated constant power", Declared, DeclaredMeter)
