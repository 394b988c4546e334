"""What an amount of emissions is comparable with: cited, dated factors, at most two, outside every inventory.

A comparison nets nothing and offsets nothing. Each factor says under which conditions it holds.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.factors import dated_table

FILE: Final = "equivalents-2026-11"
COLUMNS: Final = (
    "id", "text", "text_zh", "unit_text", "grams_each", "gases", "conditions", "edition", "publisher", "source", "licence",
    "attribution",
)  # fmt: skip
SHOWN_MOST: Final = 2
COUNT: Final = "{count}"
"""Stands in a text where the number goes, and nothing else may."""


@dataclass(frozen=True, slots=True)
class Equivalence:
    """One comparison, as published.

    Args:
        text: a sentence with COUNT in it, in English; `text_zh` in Chinese.
        unit_text: what is counted.
        grams_each: g of `gases` (CO2 | CO2e) for one of it.
        conditions: of what the factor holds, as its publisher says.
    """

    id: str
    text: str
    text_zh: str
    unit_text: str
    grams_each: Decimal
    gases: str
    conditions: str
    edition: str
    publisher: str
    source: str
    licence: str
    attribution: str


@dataclass(frozen=True, slots=True)
class Equivalent:
    """An amount as a count of something. `value` is exact; the renderer rounds it once."""

    of: Equivalence
    value: Fraction

    def format_sentence(self, count: str, language: str = "en") -> str:
        """The sentence, with the count as it is to be written."""
        return (self.of.text_zh if language == "zh" else self.of.text).replace(COUNT, count)


@cache
def shipped() -> tuple[dated_table.DatedTable, tuple[Equivalence, ...]]:
    """The table that comes with Wattlens, and its rows."""
    folder = files("energy_agent.factors").joinpath("tables")
    page, table = (folder.joinpath(f"{FILE}{end}").read_bytes() for end in (".json", ".csv"))
    return parse(page, table, FILE)


def parse(page: bytes, table: bytes, name: str) -> tuple[dated_table.DatedTable, tuple[Equivalence, ...]]:
    """A table of comparisons.

    Raises:
        UsageError: as `dated_table.parse`, and where a cell does not mean anything.
    """
    table_rows = dated_table.parse(page, table, name, COLUMNS, COLUMNS)
    rows = []
    for row in table_rows.rows:
        cells, where = row.cells, f"{table_rows.file}, line {row.line}"
        for column in ("text", "text_zh"):
            if cells[column].count(COUNT) != 1 or cells[column].count("{") != 1:
                raise UsageError(f"{where}: {column}: expected {COUNT} once in the text")
        if cells["gases"] not in ("CO2", "CO2e"):
            raise UsageError(f"{where}: gases: expected CO2 or CO2e")
        grams = dated_table.number(cells["grams_each"], f"{where}: grams_each")
        texts = {c: cells[c] for c in COLUMNS if c != "grams_each"}
        rows.append(Equivalence(**texts, grams_each=grams))
    return table_rows, tuple(rows)


def equivalents(grams: Fraction | int) -> tuple[Equivalent, ...]:
    """At most SHOWN_MOST comparisons of an amount; none where it is nothing or less."""
    if grams <= 0:
        return ()
    return tuple(Equivalent(each, Fraction(grams) / Fraction(each.grams_each)) for each in shipped()[1][:SHOWN_MOST])
