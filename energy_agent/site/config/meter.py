"""Configuration keys common to all meters of a site."""

from typing import Self

from pydantic import Field, model_validator

from energy_agent.config.formats import EntryName
from energy_agent.config.section import Day, Section
from energy_agent.core.meters.facility import MeterFacts, Position, Role


class MeterConfig(Section):
    """A meter of the building."""

    id: EntryName = Field(description="name of the meter, unique within the site")
    role: Role = Field(description="use of the metered energy")
    position: Position | None = Field(
        None, description="for role it: place of the meter, which determines the category of the PUE (1, 2, 3)"
    )
    parent: EntryName | None = Field(None, description="id of the next meter upstream, which also measures this energy")
    zone: EntryName | None = Field(None, description="room or cooling loop of the meter, for a partial PUE")
    accuracy_percent: float = Field(
        ge=0.01,
        le=50,
        description="bound of its error in percent of the reading: its accuracy class, including its transformers",
    )
    calibration: EntryName | None = Field(
        None,
        description=(
            "meters with the same value have the same error, so their errors add up; default: meters with the same kind "
            "of source"
        ),
    )
    max_power_w: float = Field(
        gt=0,
        le=1e10,
        description="maximum power, such as the breaker's rating: bounds the energy of its gaps; higher readings are rejected",
    )
    accuracy_class: str = Field("", max_length=100, description="class on its nameplate, such as 0.5S (IEC 62053-22); printed")
    serial_number: str = Field("", max_length=100, description="serial number on its nameplate; printed in the report")
    calibrated: Day | None = Field(None, description="day of its last calibration or verification; printed in the report")
    period_s: float = Field(60.0, ge=1, le=3600, description="seconds between readings")
    timeout_s: float = Field(5.0, ge=0.1, le=60, description="timeout of a response")

    @model_validator(mode="after")
    def _check_position(self) -> Self:
        if (self.role is Role.IT) != (self.position is not None):
            raise ValueError(
                f"meter {self.id!r} has role it and requires a position: ups_output, pdu_output or it_input"
                if self.role is Role.IT
                else f"meter {self.id!r} has role {self.role}: position is allowed only for role it"
            )
        if self.parent == self.id:
            raise ValueError(f"meter {self.id!r} is its own parent")
        return self

    def facts(self, source: str) -> MeterFacts:
        """What the ledger says of it."""
        return MeterFacts(
            self.id,
            self.role,
            self.position,
            self.parent or "",
            self.zone or "",
            round(self.accuracy_percent * 10_000),
            self.calibration or source,
            round(self.max_power_w * 1000),
            source,
        )
