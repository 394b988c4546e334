"""The configuration of a site's grid: its zone, the fallback factors, and the sources of its hourly intensity.

The model is built on first use, since each kind of source has its own section (`SPEC.config` in
energy_agent/site/grid/sources).
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, create_model, field_validator, model_validator

from energy_agent.config.formats import EntryName
from energy_agent.config.section import Exact, Section
from energy_agent.core import plugin
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases

SOURCES_MAX = 16
_HANDED_DOWN = ("zone", "boundary")


class AnyGridSource(Section):
    """One source of intensities: exactly one kind of it. The agent queries sources in their order, the best first."""

    @model_validator(mode="after")
    def _check_one_kind(self) -> Self:
        named = self.kinds
        if len(named) != 1:
            problem = f"has {' and '.join(named)}" if named else "has none"
            raise ValueError(f"an entry of grid.sources {problem}; expected exactly one of: {', '.join(grid_specs())}")
        return self

    @property
    def kinds(self) -> list[str]:
        """The kinds of source that it names."""
        return [name for name in grid_specs() if getattr(self, name) is not None]

    @property
    def kind(self) -> str:
        """The kind of source that it is."""
        return self.kinds[0]

    @property
    def config(self) -> Any:
        """The section of its kind."""
        return getattr(self, self.kind)


class GridBase(Section):
    """The grid of the site. Without zone and country CO2e is missing, with this reason."""

    zone: EntryName | None = Field(None, description="zone of the grid, as sources and factor files name it: DE, US-CA, SE-SE3")
    country: str | None = Field(
        None, description="ISO 3166-1 alpha-3 code, such as DEU: its yearly factor is used when no source has a value"
    )
    boundary: Literal["direct", "life-cycle"] = Field(
        "direct",
        description="emissions that count: direct (Scope 2) or life-cycle (not Scope 2); the two are never added",
    )
    gases: Literal["CO2", "CO2e"] = Field(
        "CO2e", description="gases that the factors include; China's own factors include only CO2"
    )
    factors: Path | None = Field(
        None, description="folder with your own factor files (AIB, IEA, a supplier); format: docs/factors.md"
    )
    factor_uncertainty_percent: Exact | None = Field(
        None,
        ge=0,
        le=100,
        description="95 % error of the intensities; without it, 2, 5, 7, 10 and 15 % are assumed for quality 1 to 5",
    )
    on_site_certificates: Literal["kept", "sold"] | None = Field(
        None,
        description="certificates of on-site generation: kept (retired for the site, or not issued) or sold; only kept, the "
        "generation counts as renewable",
    )
    market_boundary: Literal["2015", "revision"] = Field(
        "2015",
        description="2015: the Scope 2 Guidance of 2015; revision: also a second figure by its draft revision (hourly "
        "matching, generation in the same zone), which answers no datapoint",
    )

    @field_validator("country")
    @classmethod
    def _check_country(cls, code: str | None) -> str | None:
        if code is not None and not (len(code) == 3 and code.isascii() and code.isalpha()):
            raise ValueError(f"expected an ISO 3166-1 alpha-3 code such as DEU or USA, got {code[:40]!r}")
        return None if code is None else code.upper()

    @model_validator(mode="before")
    @classmethod
    def _check_source_defaults(cls, data: Any) -> Any:
        """What the grid says counts for each source that does not say otherwise."""
        if not isinstance(data, Mapping) or not isinstance(data.get("sources"), list | tuple):
            return data
        defaults = {key: data[key] for key in _HANDED_DOWN if data.get(key) is not None}
        defaults.setdefault("boundary", cls.model_fields["boundary"].default)
        return {**data, "sources": [_with(defaults, source) for source in data["sources"]]}

    @model_validator(mode="after")
    def _check_one_basis(self) -> Self:
        names = set()
        for source in self.all_sources:
            config = source.config
            # What is learnt is kept by these names: two sources of one name would become one series.
            name = (source.kind, config.zone, getattr(getattr(config, "path", None), "stem", ""))
            if name in names:
                raise ValueError(f"duplicate source {source.kind} of zone {config.zone}; give the files different names")
            names.add(name)
            if config.zone is None:
                raise ValueError(f"source {source.kind} has no zone; set its zone, or grid.zone")
            if config.boundary != self.boundary:
                raise ValueError(
                    f"source {source.kind} is {config.boundary}, but the grid is {self.boundary}: they cannot be added "
                    "to one total"
                )
            if getattr(config, "gases", "CO2e") != self.gases:
                raise ValueError(
                    f"source {source.kind} does not have the gases of the grid ({self.gases}): they cannot be added to "
                    "one total"
                )
        return self

    @property
    def all_sources(self) -> tuple[AnyGridSource, ...]:
        """Its sources, the best first."""
        sources: tuple[AnyGridSource, ...] = getattr(self, "sources", ())
        return sources

    @property
    def basis(self) -> Basis:
        """The basis of location-based totals."""
        return Basis(EmissionBoundary(self.boundary), Accounting.LOCATION, Gases(self.gases))

    @property
    def residual_basis(self) -> Basis:
        """The basis of what no contract covers in a market-based total."""
        return Basis(EmissionBoundary(self.boundary), Accounting.RESIDUAL, Gases(self.gases))


def _with(defaults: Mapping[str, Any], source: Any) -> Any:
    if not isinstance(source, Mapping):
        return source
    return {kind: {**defaults, **config} if isinstance(config, Mapping) else config for kind, config in source.items()}


@cache
def grid_specs() -> dict[str, Any]:
    """Every kind of source of a grid's intensity, by the key of its section."""
    import energy_agent.site.grid.sources as package

    return plugin.discover(package)


@cache
def grid_model() -> type[GridBase]:
    """The model of the section `grid`."""
    keys: dict[str, Any] = {
        name: (spec.config | None, Field(None, description=spec.summary)) for name, spec in grid_specs().items()
    }
    source = create_model("GridSourceChoice", __base__=AnyGridSource, __doc__=AnyGridSource.__doc__, **keys)
    field: Any = Field((), description="hourly sources, best first; each entry has exactly one kind")
    many: Any = Annotated[tuple[source, ...], Field(max_length=SOURCES_MAX)]
    return create_model("Grid", __base__=GridBase, __doc__=GridBase.__doc__, sources=(many, field))
