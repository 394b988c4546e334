"""Columns and sheets of the input workbook: keys of the model, laid out as a table.

What a column means, takes and needs comes from the fields of wattlens.report.inputs.model, never from a second copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, Field, TypeAdapter
from pydantic.fields import FieldInfo

from energy_agent.config.key_values import model_of
from wattlens.report.inputs.faults import Faults
from wattlens.report.inputs.model import InventoryLine, OrgFile

ROWS_MAX: Final = 200_000
Units = Mapping[str, Decimal]
KWH: Final[Units] = {"kWh": Decimal(1), "MWh": Decimal(1000)}
PER_KWH: Final[Units] = {"kWh": Decimal(1), "MWh": Decimal("0.001")}
WATTS: Final[Units] = {"W": Decimal(1), "kW": Decimal(1000), "MW": Decimal(1_000_000)}
KILOWATTS: Final[Units] = {"kW": Decimal(1), "MW": Decimal(1000)}
LITERS: Final[Units] = {"l": Decimal(1), "m3": Decimal(1000)}
_KINDS: Final = {"date": date, "date-time": datetime, "number": float, "integer": int}
NOTE, EXAMPLE, HOW_TO = "note", "example", "how to"
"""The first column of every sheet, and the notes of rows that are not read."""


class Workbook(OrgFile):
    """The whole workbook: the content of `org.yaml`, and the lines of the inventory."""

    devices: tuple[InventoryLine, ...] = Field((), max_length=ROWS_MAX)


@dataclass(frozen=True, slots=True)
class SheetColumn:
    """A column of a sheet.

    Args:
        label: its head.
        key: path of the key that it is, "": `label`; None: a column that only a table has.
        says: what it means, where that is no key's description.
        units: unit -> factor that makes it the key's unit; the unit stands in the column `label`_unit.
        choices: what it takes, where that is less than its key does.
        needed: whether a row needs it; None: as its key does.
        names: sheet of whose rows it names one.
    """

    label: str
    key: str | None = ""
    says: str = ""
    units: Units | None = None
    choices: tuple[str, ...] = ()
    needed: bool | None = None
    names: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """Its key, taken apart; () of a column that only a table has."""
        return () if self.key is None else tuple((self.key or self.label).split("."))

    @property
    def unit_label(self) -> str:
        """Head of the column with its unit."""
        return f"{self.label}_unit"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet.

    Args:
        place: where its keys stand in org.yaml, such as `sites[]`; "": at the top.
        says: what it is for, in a sentence or two.
        examples: rows by the labels of their columns.
        name: of the column by which messages and other sheets call a row.
    """

    title: str
    place: str
    says: str
    columns: tuple[SheetColumn, ...]
    examples: tuple[Mapping[str, Any], ...]
    name: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The heads of all its columns, of units and notes too, in their order."""
        names = [NOTE]
        for column in self.columns:
            names += [column.label, column.unit_label] if column.units else [column.label]
        return tuple(names)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the lists that lead to a row of it."""
        return keys_of(self.place)

    def field(self, column: SheetColumn) -> FieldInfo | None:
        """Return the model field of a column; None if the column has no field, or is a key of a mapping."""
        return field_at(section_at(self.place), column.path)

    def meaning(self, column: SheetColumn) -> str:
        """What a column means."""
        field = self.field(column)
        return column.says or (field.description or "" if field is not None else "")

    def needs(self, column: SheetColumn) -> bool:
        """Whether every row has to have it."""
        field = self.field(column)
        return column.needed if column.needed is not None else field is not None and field.is_required()

    def choices(self, column: SheetColumn) -> tuple[str, ...]:
        """What it takes, where that is a few words."""
        return column.choices or tuple(map(str, _schema_at(section_at(self.place), column.path).get("enum", ())))

    def takes(self, column: SheetColumn) -> type:
        """The kind of its cells: str, float, int, date or datetime."""
        schema = _schema_at(section_at(self.place), column.path)
        return _KINDS.get(str(schema.get("format") or schema.get("type")), str)


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row of a sheet as written.

    Args:
        number: from 1, as the sheet numbers it.
        cells: what is in it by the head of its column, without what is empty.
        letters: of the columns that the sheet has, by their heads.
    """

    sheet: Sheet
    number: int
    cells: Mapping[str, Any]
    letters: Mapping[str, str]

    def where(self, label: str = "") -> str:
        """Where a cell of it stands; without a column, or one that is not there, the row."""
        letter = self.letters.get(label, "")
        return f"sheet {self.sheet.title}, " + (f"cell {letter}{self.number}" if letter else f"row {self.number}")

    def is_in(self, faults: Faults, *labels: str) -> bool:
        """Whether something is wrong with it, or with its cells under `labels`; "" is the row itself."""
        letters = faults.rows.get((self.sheet.title, self.number), set())
        return bool(letters.intersection(self.letters.get(label, "") for label in labels) if labels else letters)

    def tell(self, faults: Faults, label: str, text: str) -> None:
        """Take up what is wrong with a cell of it, or with the row."""
        faults.add(self.sheet.title, self.number, self.letters.get(label, ""), text)


def keys_of(place: str) -> tuple[str, ...]:
    """The keys of a place such as `sites[].meters[]`."""
    return tuple(place.replace("[]", "").split(".")) if place else ()


def section_at(place: str) -> type[BaseModel]:
    """The section that a row of a place is; for the top, the whole document."""
    field = field_at(Workbook, keys_of(place))
    return (model_of(field.annotation) if field is not None else None) or Workbook


@cache
def field_at(root: type[BaseModel], path: tuple[str, ...]) -> FieldInfo | None:
    """The field of a model that a path of keys leads to, by name or alias."""
    field: FieldInfo | None = None
    current: type[BaseModel] | None = root
    for key in path:
        fields = current.model_fields if current is not None else {}
        field = fields.get(key) or next((f for f in fields.values() if f.alias == key), None)
        if field is None:
            return None
        current = model_of(field.annotation)
    return field


@cache
def _schema_at(root: type[BaseModel], path: tuple[str, ...]) -> Mapping[str, Any]:
    """What a key takes, as JSON Schema has it, but for nothing; {}: there is no such key."""
    field = field_at(root, path)
    if field is None or field.annotation is None:
        return {}
    whole = TypeAdapter[Any](field.annotation).json_schema()
    schema: Mapping[str, Any] = next(each for each in whole.get("anyOf", [whole]) if each.get("type") != "null")
    return whole["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
