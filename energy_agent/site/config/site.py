"""The sections of a site's YAML file that its process reads, as a typed model: one site, its meters, its grid.

The model is built on first use, since each kind of meter has its own section (`SPEC.config` in energy_agent/site/meters).
"""

from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, create_model, field_validator, model_validator

from energy_agent.config.agent import LedgerConfig, Web
from energy_agent.config.formats import EntryName, Listen
from energy_agent.config.otlp import Otlp
from energy_agent.config.section import Exact, Section
from energy_agent.core import plugin
from energy_agent.core.meters.facility import MeterFacts
from energy_agent.site.building.tree import refuse_unsound
from energy_agent.site.config.grid import GridBase, grid_model
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.windows import PueValue


class SiteIdentity(Section):
    """Which site this is."""

    name: EntryName = Field("site", description="name of the site, as in the inventory")
    cluster: EntryName = Field("default", description="cluster name in its segments")
    time_zone: str = Field("UTC", description="IANA name, such as Asia/Kolkata; quarters of the year end at midnight there")

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"expected an IANA time zone such as Europe/Berlin, got {name[:80]!r}") from None
        return name


class DeclaredPue(Section):
    """A stated PUE for a site without meters. Figures based on it are called estimates."""

    value: Exact | None = Field(None, ge=1, le=5, description="PUE stated by the operator; used only without meters")
    uncertainty_percent: Exact = Field(Decimal(10), gt=0, le=50, description="bound of its error")
    source: str = Field("", max_length=200, description="who states the PUE, and for which period")

    @property
    def as_value(self) -> PueValue | None:
        """As PUEs are made of it; None: none is stated."""
        if self.value is None:
            return None
        return PueValue(Fraction(self.value), Fraction(self.uncertainty_percent) / 100)


class SiteWeb(Web):
    """/metrics, /healthz, /readyz of the site."""

    listen: Listen = Field("127.0.0.1:9480", description="ADDRESS:PORT; port 0 selects a free port")


class AnyMeter(MeterConfig):
    """A meter with the section of what reads it: exactly one of them."""

    @model_validator(mode="after")
    def _check_one_source(self) -> Self:
        named = self.sources
        if len(named) != 1:
            problem = f"has {' and '.join(named)}" if named else "has no source"
            raise ValueError(f"meter {self.id!r} {problem}; expected exactly one of: {', '.join(source_specs())}")
        return self

    @property
    def sources(self) -> list[str]:
        """The kinds of source that it names."""
        return [name for name in source_specs() if getattr(self, name) is not None]

    @property
    def source(self) -> str:
        """The kind of source that reads it."""
        return self.sources[0]

    @property
    def meter_facts(self) -> MeterFacts:
        """What the ledger says of it."""
        return self.facts(self.source)


class SiteBase(Section):
    """The sections for the process, without its meters and grid."""

    site: SiteIdentity = SiteIdentity()
    pue: DeclaredPue = DeclaredPue()
    ledger: LedgerConfig = LedgerConfig()
    web: SiteWeb = SiteWeb()
    otlp: Otlp = Otlp()

    @model_validator(mode="after")
    def _check_meters(self) -> Self:
        refuse_unsound([meter.meter_facts for meter in self.all_meters])
        return self

    @property
    def the_grid(self) -> GridBase:
        """Its grid."""
        grid: GridBase = getattr(self, "grid", None) or GridBase()
        return grid

    @property
    def all_meters(self) -> tuple[AnyMeter, ...]:
        """Its meters."""
        meters: tuple[AnyMeter, ...] = getattr(self, "meters", ())
        return meters


_Site = TypeVar("_Site", bound=SiteBase)


@cache
def source_specs() -> dict[str, Any]:
    """Every kind of source of a facility meter, by the key of its section."""
    import energy_agent.site.meters as package

    return plugin.discover(package)


def site_model(base: type[_Site]) -> type[_Site]:
    """The model of a file that has the sections of `base`, with the section of each kind of meter and of grid source."""
    keys: dict[str, Any] = {
        name: (spec.config | None, Field(None, description=spec.summary)) for name, spec in source_specs().items()
    }
    meter = create_model("Meter", __base__=AnyMeter, __doc__=AnyMeter.__doc__, **keys)
    many: Any = Annotated[tuple[meter, ...], Field(max_length=2_000)]
    grid = grid_model()
    return create_model("SiteConfig", __base__=base, __doc__=base.__doc__, meters=(many, ()), grid=(grid, grid()))
