"""Published figures of what making a GPU, or the server around it, emitted.

Each figure keeps its boundary, publisher and licence. embodied.py makes spans of them.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.factors import dated_table

FILE: Final = "embodied-2026-11"
COLUMNS: Final = (
    "id", "sku", "not_sku", "what", "gpus", "kg_low", "kg_high", "boundary", "year", "publisher", "source", "licence",
    "attribution", "note",
)  # fmt: skip
WANTED: Final = tuple(c for c in COLUMNS if c not in ("not_sku", "year", "note"))
KG_MOST: Final = 1_000_000


class What(StrEnum):
    """What a figure is of."""

    GPU = "gpu"  # the module or card alone
    BOARD = "board"  # a board with several GPUs and their switches
    SERVER = "server_without_gpus"
    GPU_WITH_SERVER = "gpu_with_server"  # a GPU and its share of the server
    LIFE_CYCLE = "life_cycle"  # includes use: shown for comparison, not part of any range


@dataclass(frozen=True, slots=True)
class EmbodiedSource:
    """One published figure.

    Args:
        sku: words that a device's name must hold; `not_sku`: words that it must not hold.
        gpus: GPUs that what it is of holds or serves; a GPU has this share of it.
        kg_low: kg CO2e of the whole, exactly as published; the same as `kg_high` where there is one figure.
        boundary: which stages of life and which parts it counts.
    """

    id: str
    sku: str
    not_sku: str
    what: What
    gpus: int
    kg_low: Decimal
    kg_high: Decimal
    boundary: str
    year: str
    publisher: str
    source: str
    licence: str
    attribution: str
    note: str = ""

    @property
    def low_kg(self) -> Fraction:
        """Of one GPU."""
        return Fraction(self.kg_low) / self.gpus

    @property
    def high_kg(self) -> Fraction:
        """Of one GPU."""
        return Fraction(self.kg_high) / self.gpus

    def fits(self, sku: str) -> bool:
        """Whether a device of this name is meant."""
        words = _words(sku)
        return _words(self.sku) <= words and not _words(self.not_sku) & words


@cache
def shipped() -> tuple[dated_table.DatedTable, tuple[EmbodiedSource, ...]]:
    """The table that comes with Wattlens, and its figures."""
    folder = files("energy_agent.factors").joinpath("tables")
    page, table = (folder.joinpath(f"{FILE}{end}").read_bytes() for end in (".json", ".csv"))
    return parse(page, table, FILE)


def parse(page: bytes, table: bytes, name: str) -> tuple[dated_table.DatedTable, tuple[EmbodiedSource, ...]]:
    """A table of embodied emissions.

    Raises:
        UsageError: as `dated_table.parse`, and where a cell does not mean anything.
    """
    table_rows = dated_table.parse(page, table, name, COLUMNS, WANTED)
    return table_rows, tuple(_source(row.cells, f"{table_rows.file}, line {row.line}") for row in table_rows.rows)


def _source(cells: dict[str, str], where: str) -> EmbodiedSource:
    if cells["what"] not in tuple(What):
        raise UsageError(f"{where}: what: expected one of {', '.join(What)}")
    if not re.fullmatch(r"[1-9][0-9]{0,3}", cells["gpus"]):
        raise UsageError(f"{where}: gpus: expected a whole number of at least 1")
    low, high = (dated_table.number(cells[c], f"{where}: {c}") for c in ("kg_low", "kg_high"))
    if not low <= high <= KG_MOST:
        raise UsageError(f"{where}: expected a range of at most {KG_MOST} kg, got {low} to {high} kg")
    return EmbodiedSource(
        cells["id"], cells["sku"], cells["not_sku"], What(cells["what"]), int(cells["gpus"]), low, high, cells["boundary"],
        cells["year"], cells["publisher"], cells["source"], cells["licence"], cells["attribution"], cells["note"],
    )  # fmt: skip


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[^A-Z0-9]+", text.upper()) if word}
