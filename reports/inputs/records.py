"""Records of an organisation that belong to no site: teams, prices, embodied emissions and names of models. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import Field, model_validator

from energy_agent.config.section import Exact, Section
from reports.inputs.currency import Currency

Text = Annotated[str, Field(max_length=200)]


class TeamRule(Section):
    """Labels of a team's workloads. The first matching rule that assigns a team or project applies."""

    match: dict[str, Text] = Field(
        min_length=1, max_length=16, description="label -> glob; all must match; `kind` and `workload` count as labels"
    )
    team: str = Field("", max_length=200, description="team to which these workloads are assigned")
    project: str = Field("", max_length=200, description="project to which they are assigned")
    price_class: str = Field("", max_length=63, description="price class, such as spot; the first rule with a class applies")

    @model_validator(mode="after")
    def _check_assignment(self) -> Self:
        if not (self.team or self.project or self.price_class):
            raise ValueError("expected a team, a project or a price_class")
        return self

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about a workload with these labels."""
        return all(label in labels and fnmatchcase(labels[label], glob) for label, glob in self.match.items())


class GpuHourPrice(Section):
    """What a GPU hour of a price class is charged."""

    price_class: str = Field("", max_length=63, description="price class, such as spot or priority; empty: all other workloads")
    currency: Currency = Field("", description="ISO 4217, such as EUR")
    per_gpu_hour: Exact | None = Field(None, ge=0, le=1e6, description="price per GPU hour")
    electricity_share_percent: Exact | None = Field(
        None, ge=0, le=1000, description="share of the electricity cost that is charged in addition"
    )

    @model_validator(mode="after")
    def _check_price(self) -> Self:
        what = f"price class {self.price_class!r}"
        if self.per_gpu_hour is None and self.electricity_share_percent is None:
            raise ValueError(f"{what}: expected per_gpu_hour or electricity_share_percent")
        if self.per_gpu_hour is not None and not self.currency:
            raise ValueError(f"{what} needs a currency")
        return self

    @property
    def electricity_share(self) -> Decimal | None:
        """The share of its electricity's cost that a workload is charged; None: none of it."""
        return None if self.electricity_share_percent is None else self.electricity_share_percent / 100


class EmbodiedDeclaration(Section):
    """Embodied emissions of a GPU model. It overrides the figures that come with Wattlens."""

    sku: str = Field(min_length=1, max_length=200, description="glob over GPU models, such as *H100*; case is ignored")
    low_kg: Exact = Field(ge=0, le=1e6, description="kg of CO2e per GPU, the lowest estimate")
    high_kg: Exact = Field(
        ge=0, le=1e6, description="kg of CO2e per GPU, the highest estimate; equal if the source has one figure"
    )
    life_years: Exact = Field(gt=0, le=50, description="years of use over which it is distributed")
    boundary: str = Field(min_length=1, max_length=200, description="boundary of the figure: cradle to gate, GPU board only")
    source: str = Field(min_length=1, max_length=400, description="source of the figure")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.high_kg < self.low_kg:
            raise ValueError(f"high_kg: expected at least low_kg ({float(self.low_kg):g}), got {float(self.high_kg):g}")
        return self


class ModelName(Section):
    """The printed name of a model."""

    model: str = Field(min_length=1, max_length=300, description="name in the ledger, as reported by the inference server")
    display: str = Field("", max_length=200, description="name in the report; empty: as in the ledger")
    precision: str = Field("", max_length=63, description="precision, such as fp8")
    parameters_billion: Exact | None = Field(None, gt=0, le=1e6, description="number of parameters in billions: 70.6")

    @property
    def parameters(self) -> int | None:
        """Its number of parameters."""
        return None if self.parameters_billion is None else int(self.parameters_billion * 10**9)


def refuse_duplicates(what: str, names: Iterable[str]) -> None:
    """Check that each name is listed once.

    Raises:
        ValueError: a name is listed twice; the message has it.
    """
    seen_names: set[str] = set()
    for name in names:
        if name in seen_names:
            raise ValueError(f"duplicate {what} {name!r}")
        seen_names.add(name)
