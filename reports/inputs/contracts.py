"""Contracts and certificates of a site's electricity."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from energy_agent.config.formats import EntryName
from energy_agent.config.section import Day, Exact, PlantDay, Section
from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from energy_agent.factors import bounded_file
from energy_agent.factors.basis import EmissionBoundary
from reports.inputs import matching, tariffs
from reports.inputs.beneficiaries import Beneficiaries
from reports.inputs.contract_hours import parse_hours
from reports.inputs.days import days_ns, refuse_reversed
from reports.inputs.matching import InstrumentKind, Lot, Technology
from reports.inputs.records import refuse_duplicates
from reports.inputs.serials import Retirement, parse_serials, refuse_double_use
from reports.inputs.tariffs import Tariff

FILE_MAX_B: Final = 32 << 20
ANYBODY: Final = Beneficiaries()
"""Without a reporting organisation no beneficiary is compared."""


def _kind(value: Any) -> Any:
    """A kind of instrument in capitals, as registries write GO and I-REC."""
    return value.lower() if isinstance(value, str) else value


class Contract(Section):
    """Electricity that was bought by contract, or certificates for it."""

    id: EntryName = Field(description="name of the contract, unique within the site")
    kind: Annotated[InstrumentKind, BeforeValidator(_kind)] = Field(
        description="ppa, go, rec, i-rec or other; only retired certificates count, whatever the kind"
    )
    zone: EntryName = Field(description="bidding zone or grid where the electricity was generated, named as in grid.zone")
    technology: Technology = Field(
        description="generation technology; wind, solar, hydro, geothermal, biomass and ocean are renewable"
    )
    g_per_kwh: Exact | None = Field(
        None,
        ge=0,
        le=10_000,
        description="grams of CO2e per kWh of the electricity; without it, wind, solar, hydro, ocean and nuclear count as 0 "
        "g/kWh direct, and fossil, mixed, biomass and geothermal cover nothing",
    )
    g_source: str = Field(
        "", max_length=200, description="source of that figure; not required for 0 g/kWh of a technology without combustion"
    )
    g_boundary: Literal["direct", "life-cycle"] = Field(
        "direct", description="emissions that the figure includes; the contract covers nothing if grid.boundary differs"
    )
    biogenic_g_per_kwh: Exact | None = Field(
        None,
        ge=0,
        le=10_000,
        description="grams of CO2 from biomass per kWh, of biomass or a mix; reported apart from the scopes, missing without",
    )
    biogenic_source: str = Field("", max_length=200, description="source of biogenic_g_per_kwh, only with it")
    start: Day | None = Field(None, description="first day of the period, in the site's time zone (with volume_kwh)")
    end: Day | None = Field(None, description="last day of the period, inclusive (with volume_kwh)")
    volume_kwh: Exact | None = Field(None, gt=0, le=1e12, description="volume of the period")
    granularity: Literal["hour", "month", "year"] = Field(
        "year",
        description="period over which the volume is matched with consumption; hour: an equal share in each hour (UTC) of "
        "the period, which is not hourly matching: that needs the times of delivery",
    )
    hourly_file: Path | None = Field(
        None, description="CSV file ts_utc,kwh with the delivery of each hour, instead of volume_kwh"
    )
    commissioned: PlantDay | None = Field(None, description="first day of operation of the power plant")
    retired: Day | None = Field(
        None,
        description="day on which its certificates were retired for this site: not after the report, nor before the production",
    )
    retirement_id: str = Field(
        "",
        max_length=200,
        description="the registry's id of that retirement; two contracts may share it if each lists its own serials",
    )
    registry: str = Field(
        "", max_length=100, description="registry that issued and retired the certificates; the contract covers nothing without"
    )
    serials: str = Field(
        "",
        max_length=20_000,
        description="serial numbers of the retired certificates, such as DE-101..DE-104; DE-200; each counts once over all "
        "sites and periods, for 1 MWh at most, and the contract covers nothing without",
    )
    plant: str = Field("", max_length=200, description="power plant; the contract covers nothing without")
    beneficiary: str = Field(
        "",
        max_length=200,
        description="organisation for which the certificates were retired: the reporting one, or one that it accepts "
        "(organisation.beneficiaries); the contract covers nothing without",
    )

    @field_validator("biogenic_source")
    @classmethod
    def _check_biogenic_source(cls, source: str, info: ValidationInfo) -> str:
        """A source without its figure would be ignored; here the error has the key or cell of the source."""
        if source and info.data.get("biogenic_g_per_kwh", source) is None:
            raise ValueError("biogenic_source requires biogenic_g_per_kwh; enter the figure or delete its source")
        return source

    @model_validator(mode="after")
    def _check_terms(self) -> Self:
        what = f"contract {self.id!r}"
        self._check_volume(what)
        self._check_factor(what)
        self._check_biogenic(what)
        if (self.retired is None) != (not self.retirement_id):
            raise ValueError(f"{what}: retired and retirement_id require each other")
        try:
            parse_serials(self.serials)
        except ValueError as error:
            raise ValueError(f"{what}: serials: {error}") from None
        if self.start and self.end:
            self._check_period(what, self.start, self.end)
        return self

    @property
    def retirement(self) -> Retirement:
        """Its retirement, to be compared with those of other contracts."""
        return Retirement(f"contract {self.id!r}", self.retirement_id, self.registry, parse_serials(self.serials))

    @property
    def proof(self) -> str:
        """What proves its retirement, as text; "" without one."""
        if self.retired is None:
            return ""
        parts = (self.registry, self.retirement_id, str(self.retired), self.serials, self.plant, self.beneficiary)
        return ", ".join(part.strip() for part in parts if part.strip())

    @property
    def is_timed(self) -> bool:
        """Whether its deliveries have time stamps."""
        return self.hourly_file is not None

    def _check_volume(self, what: str) -> None:
        if self.is_timed == (self.volume_kwh is not None):
            raise ValueError(f"{what}: expected either volume_kwh with start and end, or hourly_file")
        if not self.is_timed and None in (self.start, self.end):
            raise ValueError(f"{what}: volume_kwh requires start and end")
        if self.is_timed and (self.start or self.end):
            raise ValueError(
                f"{what}: start and end are allowed only with volume_kwh; an hourly_file has the time of each hour"
            )

    def _check_factor(self, what: str) -> None:
        grams, life_cycle = self.g_per_kwh, self.g_boundary == "life-cycle"
        if grams is None:
            if life_cycle:
                raise ValueError(f"{what}: g_boundary requires g_per_kwh")
            return
        if not grams and (life_cycle or self.technology in (Technology.FOSSIL, Technology.MIXED)):
            over = " over its life cycle" if life_cycle else ""
            raise ValueError(f"{what}: {self.technology} electricity has more than 0 g/kWh{over}; set its emission factor")
        if (grams or not self.technology.burns_nothing) and not self.g_source:
            raise ValueError(f"{what}: g_source is missing: state the source of {float(grams):g} g/kWh")

    def _check_biogenic(self, what: str) -> None:
        grams = self.biogenic_g_per_kwh
        if grams is None:
            return
        if not self.technology.may_burn_biomass:
            raise ValueError(f"{what}: {self.technology} electricity has no biogenic CO2; omit biogenic_g_per_kwh")
        if not grams and self.technology is Technology.BIOMASS:
            raise ValueError(f"{what}: biomass electricity has more than 0 g/kWh of biogenic CO2; set biogenic_g_per_kwh")
        if not self.biogenic_source:
            raise ValueError(f"{what}: biogenic_source is missing: state the source of {float(grams):g} g/kWh")

    def _check_period(self, what: str, start: date, end: date) -> None:
        refuse_reversed(what, start, end)
        if self.commissioned and start < self.commissioned:
            raise ValueError(f"{what} begins on {start}, before its plant was commissioned ({self.commissioned})")
        if self.granularity == "month" and (start.year, start.month) != (end.year, end.month):
            raise ValueError(f"{what} is matched by month and spans several months; split it into one contract per month")
        if self.granularity == "year" and start.year != end.year:
            raise ValueError(f"{what} is matched by year and spans several years; split it into one contract per year")

    def lots(
        self, time_zone: ZoneInfo, as_of: date, boundary: EmissionBoundary, beneficiaries: Beneficiaries = ANYBODY
    ) -> list[Lot]:
        """Its volume by the periods that it is matched with; reads its hourly_file.

        Args:
            time_zone: the site's.
            as_of: day of the report, after which no retirement counts.
            boundary: of the total that it is matched in.
            beneficiaries: for whom its certificates may be retired.

        Raises:
            UsageError: that file cannot be read or is not valid; the line names it.
        """
        delivered = self.deliveries_by_time(time_zone)
        if not delivered:
            return []
        first = datetime.fromtimestamp(min(start for start, _, _ in delivered) // NS_PER_S, time_zone).date()
        objection = self.objection(first, as_of, boundary, beneficiaries)
        what = (self.id, self.kind, self.zone, self.technology, self.g_per_kwh or Decimal(0))
        volumes = [uj for *_, uj in delivered]
        count = sum(each.count for each in parse_serials(self.serials))
        proven = volumes if objection else matching.certified(volumes, count)
        return [
            Lot(*what, *each, objection, self.is_timed, self.proof, self.biogenic_g_per_kwh, each[2] - uj)
            for each, uj in zip(delivered, proven, strict=True)
        ]

    def objection(self, first: date, as_of: date, boundary: EmissionBoundary, beneficiaries: Beneficiaries = ANYBODY) -> str:
        """Why it may not be claimed and covers nothing; "": it may be.

        The Scope 2 Guidance (2015, chapter 7) lets an instrument count that was tracked and retired for the reporter and has an
        emission rate of its own, and no other instrument may make the same claim: registry, serial numbers, plant and
        beneficiary prove it. Electricity without its attributes takes the residual mix.

        Args:
            first: day on which its production began.
            as_of: as of `lots`.
            boundary: as of `lots`.
            beneficiaries: as of `lots`.
        """
        if self.retired is None:
            return matching.NOT_RETIRED
        if self.retired > as_of:
            return f"retired on {self.retired}, after the day of the report ({as_of})"
        if self.retired < first:
            return f"retired on {self.retired}, before its production began ({first})"
        proof = {
            "registry": self.registry,
            "serials": self.serials.strip(),
            "plant": self.plant,
            "beneficiary": self.beneficiary,
        }
        if missing := [name for name, value in proof.items() if not value]:
            return f"its retirement is not proven: {', '.join(missing)} missing"
        if other := beneficiaries.objection(self.beneficiary):
            return other
        if self.g_per_kwh is None and not self.technology.burns_nothing:
            return f"no emission factor (g_per_kwh) is given, which {self.technology} electricity requires"
        if self.g_boundary != boundary:
            return f"its emission factor is {self.g_boundary}, but the total is {boundary}"
        return ""

    def deliveries_by_time(self, time_zone: ZoneInfo) -> list[tuple[int, int, int]]:
        """(UTC ns of start, of end, uJ) of each period that it is matched with; raises as `lots`."""
        if self.hourly_file is not None:
            return [(t, t + matching.HOUR_NS, uj) for t, uj in sorted(self._hours(self.hourly_file).items())]
        assert self.start is not None
        assert self.end is not None
        assert self.volume_kwh is not None
        start_ns, end_ns = days_ns(self.start, self.end, time_zone)
        uj = int(self.volume_kwh * UJ_PER_KWH)
        return list(matching.hourly_lots(uj, start_ns, end_ns)) if self.granularity == "hour" else [(start_ns, end_ns, uj)]

    def _hours(self, path: Path) -> dict[int, int]:
        try:
            text = bounded_file.read(path, FILE_MAX_B).decode("utf-8-sig")
            hours = parse_hours(text, str(path))
        except UnicodeDecodeError:
            raise UsageError(f"contract {self.id!r}: {path} is not UTF-8 text") from None
        except (ValueError, UsageError) as error:
            raise UsageError(f"contract {self.id!r}: {error}") from None
        if self.commissioned is not None:
            first = date.fromordinal(date(1970, 1, 1).toordinal() + min(hours) // (86_400 * NS_PER_S))
            if first < self.commissioned - timedelta(days=1):  # a day begins earlier in some places than in UTC
                raise UsageError(
                    f"contract {self.id!r}: {path} begins on {first}, before its plant was commissioned ({self.commissioned})"
                )
        return hours


def refuse_unsound(bought: Sequence[Contract], priced: Sequence[Tariff]) -> None:
    """Check a site's contracts and tariffs together.

    Raises:
        ValueError: an id or a certificate is there twice, or two tariffs are valid at once; the message names them.
    """
    refuse_duplicates("contract", (contract.id for contract in bought))
    refuse_double_use(contract.retirement for contract in bought)
    tariffs.refuse_overlap(tariffs.ended(priced))
