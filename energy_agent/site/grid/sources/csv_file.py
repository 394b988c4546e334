"""A CSV file of a zone's intensities, exported once or rewritten by a program of the site."""

import hashlib
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from energy_agent.core.ports import Clock
from energy_agent.factors import bounded_file, series_csv
from energy_agent.factors.basis import Accounting, Basis, Gases
from energy_agent.factors.series import About, IntensityPoint
from energy_agent.site.grid.source import GridConfig, GridSource, required_zone

FILE_MAX_B: Final = 128 << 20


class IntensityCsvConfig(GridConfig):
    """A CSV file: ts_utc,zone,g_per_kwh,kind,estimated,method,source, or as Electricity Maps' data portal gives it."""

    path: Path = Field(description="path of the file")
    publisher: str = Field(min_length=1, max_length=200, description="publisher of the values; appears in the report")
    licence: str = Field(min_length=1, max_length=200, description="licence of the values; appears in the report")
    gases: Literal["CO2", "CO2e"] = Field("CO2e", description="gases that the values include")
    accounting: Literal["location", "residual-mix"] = Field("location", description="the grid's mix, or its residual mix")
    gwp_set: str = Field(
        "not stated", max_length=80, description="set of global warming potentials that converts gases to CO2e, such as AR6"
    )
    quality: int = Field(3, ge=1, le=5, description="1 (metered supplier) to 5 (annual average)")


class CsvFileSource:
    """Reads the file when its bytes have changed."""

    def __init__(self, config: IntensityCsvConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        zone, boundary = required_zone(config, "csv_file")
        basis = Basis(boundary, Accounting(config.accounting), Gases(config.gases))
        self.about = About(
            f"csv_file.{_name(config.path)}", zone, basis, config.publisher, config.licence, config.gwp_set, config.quality
        )
        self._digest = ""
        self._points: tuple[IntensityPoint, ...] = ()

    def read(self) -> tuple[IntensityPoint, ...]:
        """The intensities of the file; known since these bytes were first read."""
        raw = bounded_file.read(self._config.path, FILE_MAX_B)
        digest = hashlib.sha256(raw).hexdigest()
        if digest != self._digest:
            zone, boundary = self.about.zone, self.about.basis.boundary
            series = series_csv.parse(raw, str(self._config.path), zone, boundary, self._clock.utc_ns(), digest)
            self._points, self._digest = series.points, digest
        return self._points

    def close(self) -> None:
        """Nothing is held open."""


def _name(path: Path) -> str:
    """The file's name without its ending, as a folder may be named by it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in path.stem)[:40] or "_"


SPEC = GridSource("a CSV file of intensities", IntensityCsvConfig, CsvFileSource)
