"""The YAML file of a site: the sections of `wattlens site`, and those of its contracts, tariffs and water for reports."""

from functools import cache
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from energy_agent.config import agent as configuration
from energy_agent.runtime.files import yaml_file
from energy_agent.site.config.site import SiteBase, site_model
from reports.inputs.contracts import Contract, refuse_unsound
from reports.inputs.tariffs import Tariff
from reports.inputs.water import WaterRecord, refuse_overlap


class SiteFile(SiteBase):
    """The whole file."""

    contracts: tuple[Contract, ...] = Field((), max_length=10_000)
    tariffs: tuple[Tariff, ...] = Field((), max_length=1_000)
    water: tuple[WaterRecord, ...] = Field((), max_length=10_000)

    @model_validator(mode="after")
    def _check_accounts(self) -> Self:
        refuse_unsound(self.contracts, self.tariffs)
        refuse_overlap(self.water)
        if self.contracts and self.the_grid.zone is None:
            raise ValueError("contracts require grid.zone: only electricity generated in the site's zone is matched")
        return self


@cache
def file_model() -> type[SiteFile]:
    """The model of the file, with the section of each kind of meter and of grid source."""
    return site_model(SiteFile)


def load_site(path: Path) -> SiteFile:
    """Read and check a site's file.

    Raises:
        UsageError: one line that names the file, the key and what to do.
    """
    return parse_site(yaml_file.read(path, "site configuration"), str(path))


def parse_site(raw: bytes, name: str = "site configuration") -> SiteFile:
    """Check the text of a site's file; raises as `load_site` does."""
    return configuration.parse_as(file_model(), raw, name)
