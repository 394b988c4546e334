"""A file of readings with their own times: CSV or Parquet, as a meter's portal or a building's control system exports it.

Each row is given once, in the order of its time. A file that grows is read on; one that was replaced is read again, and what is
not later than what was given is passed over. Nothing is kept on disk: after a restart all rows are given again, and the site's
own state says which of them are recorded. The energy column is the register as the meter shows it, not what an interval used.
"""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from energy_agent.config.section import Section
from energy_agent.core.meters.reading import MeterError, MeterReading
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters._decimal_text import decimal_of
from energy_agent.site.meters._import_files import ParquetFile, ReadingsCsv, RowError, opened
from energy_agent.site.meters._source import FacilitySource, reading

ROWS_AT_ONCE: Final = 100_000
_EARLIEST_NS: Final = 946_684_800 * NS_PER_S  # 2000: no meter in use has an earlier reading
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_FINEST: Final = -15


class Imported(Section):
    """A file of readings. Its first line, or its schema, names its columns."""

    path: Path = Field(description="path of the file")
    format: Literal["auto", "csv", "parquet"] = Field("auto", description="auto: parquet if the name ends in .parquet or .pq")
    delimiter: Literal[",", ";", "\t"] = Field(",", description="delimiter of the CSV file")
    time_column: str = Field(
        "time", max_length=200, description="column of the time: ISO 8601 with offset, or seconds since 1970"
    )
    energy_column: str = Field("energy_kwh", max_length=200, description="column of the energy register, as the meter shows it")
    energy_unit: Literal["J", "kJ", "MJ", "Wh", "kWh", "MWh", "GWh"] = Field("kWh", description="unit of the energy register")
    energy_wrap: float | None = Field(None, gt=0, description="value in energy_unit at which the meter's register wraps to 0")
    power_column: str = Field("power_w", max_length=200, description="column of the power at that time")
    power_unit: Literal["W", "kW", "MW"] = Field("W", description="unit of the power")
    max_age_s: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        description="maximum age of the newest reading: if it is older, the meter is down; unset: not checked",
    )

    @property
    def is_parquet(self) -> bool:
        """Whether it is read as Parquet."""
        return self.format == "parquet" or (self.format == "auto" and self.path.suffix in (".parquet", ".pq"))

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if len({self.time_column, self.energy_column, self.power_column}) < 3:
            raise ValueError("time_column, energy_column and power_column must be three different columns")
        return self


class ImportedMeter:
    """One file; it is open only while it is read."""

    def __init__(self, section: Imported, meter: MeterConfig, clock: Clock) -> None:
        self._section, self._meter, self._clock = section, meter, clock
        self._file = ParquetFile() if section.is_parquet else ReadingsCsv(section.path, section.delimiter, clock.boot_ns)
        self._given_ns = 0
        self._row_ns = 0  # of the row before, in this file
        self._ahead_ns: int | None = None
        self._finest = {"energy": 0, "power": 0}

    def read(self) -> tuple[MeterReading, ...]:
        """The next rows, at most ROWS_AT_ONCE. Rows before an invalid row come first; the next call raises its error."""
        readings: list[MeterReading] = []
        now_ns = self._now_ns()
        try:
            with opened(self._section.path) as file:
                if not self._file.refresh(file):
                    self._row_ns = 0
                columns = self._columns(self._file.columns)
                for count, (number, cells) in enumerate(self._file.rows(file, [c for _, c in columns])):
                    if count == ROWS_AT_ONCE:
                        break
                    try:
                        readings += self._row({name: cell for (name, _), cell in zip(columns, cells, strict=True)}, now_ns)
                    except MeterError as error:
                        raise RowError(number, str(error)) from None
        except (MeterError, OSError) as error:
            if not readings:
                where = f"{self._section.path}:{error.number}" if isinstance(error, RowError) else f"{self._section.path}"
                reason = error.strerror if isinstance(error, OSError) else None
                raise MeterError(f"{where}: {reason or error}") from None
        most_s = self._section.max_age_s
        if not readings and most_s is not None and now_ns - self._given_ns > most_s * NS_PER_S:
            age = f"{(now_ns - self._given_ns) / NS_PER_S:.0f} s old" if self._given_ns else "missing"
            raise MeterError(f"{self._section.path}: its newest row is {age}, but max_age_s is {most_s:g}")
        return tuple(readings)

    def close(self) -> None:
        """Nothing is held."""

    def _now_ns(self) -> int:
        """UTC now. The boot clock is taken to be as far from it as ever, so that rows lie as far apart in both.

        It is taken in whole seconds, which come out the same after a restart, and never so that a row would lie in the future.
        """
        boot_ns, now_ns = self._clock.boot_ns(), self._clock.utc_ns()
        ahead_ns = (boot_ns - now_ns) // NS_PER_S * NS_PER_S
        self._ahead_ns = ahead_ns if self._ahead_ns is None else min(ahead_ns, self._ahead_ns)
        return now_ns

    def _columns(self, file_columns: Sequence[str]) -> list[tuple[str, str]]:
        """(what it is, its column) of the columns that are read."""
        section = self._section
        wanted = {"time": section.time_column, "energy": section.energy_column, "power": section.power_column}
        columns = [(name, column) for name, column in wanted.items() if column in file_columns]
        required_names = {name for name in wanted if f"{name}_column" in section.model_fields_set} | {"time"}
        missing = [wanted[name] for name in sorted(required_names) if wanted[name] not in file_columns]
        if missing or len(columns) < 2:
            listing = ", ".join(repr(name[:40]) for name in file_columns[:12]) or "none"
            lacks = repr(missing[0]) if missing else f"{wanted['energy']!r} or {wanted['power']!r}"
            raise MeterError(f"has no column {lacks}; its columns: {listing}")
        return columns

    def _row(self, cells: dict[str, str], now_ns: int) -> list[MeterReading]:
        """The reading of a row; empty if the row has no values, or no new ones."""
        t_ns = time_ns(cells["time"])
        if t_ns > now_ns:
            raise MeterError(f"its time is {(t_ns - now_ns) / NS_PER_S:.3g} s in the future: {cells['time'][:40]}")
        if t_ns <= self._row_ns:
            raise MeterError(f"its time is not later than that of the previous row: {cells['time'][:40]}")
        numbers = {name: decimal_of(cells[name]) for name in ("energy", "power") if cells.get(name)}
        readings = []
        if numbers and t_ns > self._given_ns:
            assert self._ahead_ns is not None
            energy_wrap = self._section.energy_wrap
            converted = reading(
                self._meter,
                self._clock,
                energy=numbers.get("energy"),
                energy_unit=self._section.energy_unit,
                energy_step=self._step("energy", numbers),
                wrap=None if energy_wrap is None else Decimal(repr(energy_wrap)),
                power=numbers.get("power"),
                power_unit=self._section.power_unit,
                power_step=self._step("power", numbers),
            )
            readings.append(replace(converted, t_ns=t_ns, boot_ns=t_ns + self._ahead_ns))
            self._given_ns = t_ns
        self._row_ns = t_ns
        return readings

    def _step(self, name: str, numbers: dict[str, Decimal]) -> Decimal:
        """Resolution as far as it has shown itself."""
        if name in numbers:
            exponent = numbers[name].as_tuple().exponent
            self._finest[name] = min(self._finest[name], exponent if isinstance(exponent, int) else 0)
        return Decimal(10) ** max(_FINEST, self._finest[name])


def time_ns(text: str) -> int:
    """UTC ns since 1970 of ISO 8601 with an offset, or of seconds since 1970.

    Raises:
        MeterError: it is neither.
    """
    if text.replace(".", "", 1).isdecimal():
        found_ns = int(decimal_of(text) * NS_PER_S)
    else:
        try:
            moment = datetime.datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise MeterError(f"its time {text[:40]} has no offset from UTC, such as Z or +01:00")
            since = moment - _EPOCH
        except (ValueError, ArithmeticError):
            raise MeterError(f"expected a time in ISO 8601 with an offset, or seconds since 1970, got {text[:40]!r}") from None
        found_ns = (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000
    if found_ns < _EARLIEST_NS:
        raise MeterError(f"expected a time from 2000 on, in seconds since 1970 or ISO 8601 with an offset, got {text[:40]}")
    return found_ns


SPEC = FacilitySource("a CSV or Parquet file of readings with their own times", Imported, ImportedMeter)
