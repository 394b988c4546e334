"""Rows of a workbook as the typed model of `org.yaml`: the same classes check them, and what is wrong is told by its cell."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from energy_agent.config.messages import explain
from energy_agent.core.errors import UsageError
from energy_agent.site.config.contracts import Tariff
from energy_agent.site.config.water import Water
from wattlens.report.inputs import model
from wattlens.report.inputs.cells import BadCellError, as_written, nested, placed
from wattlens.report.inputs.columns import Column, Row
from wattlens.report.inputs.inventory import Line

Model = TypeVar("Model", bound=BaseModel)
Loc = tuple[int | str, ...]
_PREFIX = re.compile(r"^key '[^']*'(: | )")
_QUOTED = re.compile(r"'([^']+)'")


@dataclass(slots=True)
class Entry:
    """What becomes one object of the model: its keys, and the cell of each."""

    row: Row
    data: dict[str, Any]
    places: dict[Loc, tuple[Row, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """A workbook, read and checked.

    Args:
        cells: where a name stands, for messages about several rows.
        inventory_at: where the file of the inventory is named; "": no row names one.
    """

    told: model.OrgFile
    lines: tuple[Line, ...]
    cells: Mapping[str, tuple[str, ...]]
    inventory_at: str = ""


def found_in(sheets: Mapping[str, Sequence[Row]], book: str) -> Found:
    """A workbook's rows as what they tell.

    Args:
        sheets: rows by the title of their sheet.
        book: the workbook's name, for messages.

    Raises:
        UsageError: the first cell that is wrong: what is wrong with it, and what to write.
    """
    try:
        return _Reading(sheets, book).found()
    except BadCellError as error:
        raise UsageError(f"{book}: {error}") from None


class _Reading:
    """One workbook."""

    def __init__(self, sheets: Mapping[str, Sequence[Row]], book: str) -> None:
        self._sheets, self._book = sheets, book
        self._sites: dict[str, Entry] = {}
        self._parts: dict[str, dict[str, list[BaseModel]]] = {}
        self._cells: dict[str, list[str]] = {}
        self._names: dict[tuple[str, str, str], Row] = {}
        self._inventory_at = ""

    def found(self) -> Found:
        """Everything, the sheets that others refer to first."""
        for entry in self._entries("Sites"):
            name = self._need(entry.row, "name")
            if name in self._sites:
                raise BadCellError(entry.row.where("name"), f"site {name!r} is there twice")
            self._hours(entry)
            self._sites[name] = entry
        lines = tuple((f"{self._book}: {e.row.where('site')}", self._made(model.Device, e)) for e in self._entries("Inventory"))
        for entry in self._entries("Meters"):
            self._keep("meters", model.RegisteredMeter, entry)
        self._contracts()
        self._tariffs()
        for entry in self._entries("Water"):
            self._keep("water", Water, entry)
        sites = tuple(self._site(name, entry) for name, entry in self._sites.items())
        told = {
            "sites": sites,
            "teams": tuple(self._team(entry) for entry in self._entries("Teams")),
            "prices": tuple(self._made(model.ClassPrice, entry) for entry in self._entries("Prices")),
            "embodied": tuple(self._made(model.Board, entry) for entry in self._entries("Hardware")),
            "models": tuple(self._made(model.ModelFacts, entry) for entry in self._entries("Models")),
        }
        cells = {name: tuple(cells) for name, cells in self._cells.items()}
        try:
            return Found(self._organisation(told), lines, cells, self._inventory_at)
        except ValidationError as error:  # of several rows together
            text = str(error.errors()[0].get("ctx", {}).get("error", error))
            raise UsageError(f"{self._book}: {text}{also_at(text, cells)}") from None

    def _organisation(self, told: dict[str, Any]) -> model.OrgFile:
        entries = list(self._entries("Organisation"))
        if not entries:
            return model.OrgFile.model_validate(told)
        if len(entries) > 1:
            raise BadCellError(entries[1].row.where(), "sheet Organisation has one row; take this one out")
        self._inventory_at = entries[0].row.where("inventory_file")
        self._made(model.OrgFile, entries[0])  # what is wrong with its cells is told as that
        return model.OrgFile.model_validate({**entries[0].data, **told})

    def _entries(self, title: str) -> Iterator[Entry]:
        for row in self._sheets.get(title, ()):
            data = nested(row)
            entry = Entry(row, data, {column.path: (row, column.label) for column in row.sheet.columns if column.path})
            for column in row.sheet.columns:
                if row.sheet.needs(column):
                    self._need(row, column.label, column)
            if row.sheet.name:
                name = str(row.cells.get(row.sheet.name, ""))
                self._cells.setdefault(name, []).append(row.where(row.sheet.name))
            yield entry

    def _need(self, row: Row, label: str, column: Column | None = None) -> str:
        value = row.cells.get(label)
        if value is None:
            meaning = row.sheet.meaning(column) if column is not None else ""
            raise BadCellError(row.where(label), f"is empty; write {label}" + (f": {meaning}" if meaning else ""))
        return str(value)

    def _site_of(self, row: Row) -> str:
        site = self._need(row, "site")
        if site not in self._sites:
            there = ", ".join(self._sites) or "none"
            raise BadCellError(row.where("site"), f"{site[:80]!r} is no site of sheet Sites; there are: {there[:200]}")
        return site

    def _keep(self, key: str, kind: type[BaseModel], entry: Entry) -> None:
        """Make a part of a site of an entry; its id is its own within the site."""
        site, name = self._site_of(entry.row), str(entry.row.cells.get("id", ""))
        if name and (other := self._names.setdefault((site, key, name), entry.row)) is not entry.row:
            raise BadCellError(entry.row.where("id"), f"{name!r} is there twice; {other.where('id')} has it already")
        self._parts.setdefault(site, {}).setdefault(key, []).append(self._made(kind, entry))

    def _contracts(self) -> None:
        deliveries: dict[tuple[str, str], list[tuple[Row, model.Delivery]]] = {}
        for entry in self._entries("Deliveries"):
            key = (self._site_of(entry.row), self._need(entry.row, "contract"))
            deliveries.setdefault(key, []).append((entry.row, self._made(model.Delivery, entry)))
        for title in ("Contracts", "Certificates"):
            for entry in self._entries(title):
                own = deliveries.pop((self._site_of(entry.row), self._need(entry.row, "id")), [])
                _refuse_double(own)
                if own:
                    entry.data["deliveries"] = tuple(each for _, each in own)
                self._keep("contracts", model.BoughtContract, entry)
        if deliveries:
            (site, contract), rows = next(iter(deliveries.items()))
            text = f"{contract[:80]!r} is no contract or certificate of site {site!r}, or has its deliveries already"
            raise BadCellError(rows[0][0].where("contract"), text)

    def _tariffs(self) -> None:
        """One tariff of every row with its id: the one without times, then those with."""
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in self._entries("Tariffs"):
            groups.setdefault((self._site_of(entry.row), self._need(entry.row, "id")), []).append(entry)
        for (_, name), entries in groups.items():
            base = [entry for entry in entries if "times" not in entry.row.cells]
            if len(base) != 1:
                row = (base or entries)[-1].row
                text = f"tariff {name!r} has {len(base)} rows without times; one of them is the price at any other time"
                raise BadCellError(row.where("times"), text)
            self._keep("tariffs", Tariff, _with_bands(base[0], entries))

    def _hours(self, entry: Entry) -> None:
        """The file with a grid's hours, as the source that it is in org.yaml."""
        row, config = entry.row, {}
        for key, label in (("path", "hours_file"), ("publisher", "hours_publisher"), ("licence", "hours_licence")):
            if "hours_file" in row.cells:
                config[key] = self._need(row, label)
                entry.places["grid", "sources", 0, "csv_file", key] = (row, label)
            elif label in row.cells:
                raise BadCellError(row.where("hours_file"), f"is empty, and {label} tells of it")
        if config:
            entry.data.setdefault("grid", {})["sources"] = [{"csv_file": config}]

    def _team(self, entry: Entry) -> model.Team:
        match = entry.data.setdefault("match", {})
        for pair in filter(None, (part.strip() for part in str(entry.row.cells.get("labels", "")).split(";"))):
            key, equals, glob = (part.strip() for part in pair.partition("="))
            if not (key and equals and glob) or key in match:
                raise BadCellError(entry.row.where("labels"), f"{pair[:80]!r} is no key=glob, or its key is there twice")
            match[key] = glob
            entry.places["match", key] = (entry.row, "labels")
        if not match:
            raise BadCellError(entry.row.where(), "a row needs a glob that says whose workloads it is about, such as *")
        return self._made(model.Team, entry)

    def _site(self, name: str, entry: Entry) -> model.OrgSite:
        entry.data |= {key: tuple(made) for key, made in self._parts.get(name, {}).items()}
        return self._made(model.OrgSite, entry)

    def _made(self, kind: type[Model], entry: Entry) -> Model:
        try:
            return kind.model_validate(entry.data)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            loc = tuple(part for part in fault["loc"] if part != "[key]")
            row, label = entry.row, ""
            for size in range(len(loc), 0, -1):
                if loc[:size] in entry.places:
                    row, label = entry.places[loc[:size]]
                    break
            column = next((c for c in row.sheet.columns if c.label == label), None)
            if fault["type"] == "missing" and column is not None:
                self._need(row, label, column)
            text = _PREFIX.sub("", explain(error, kind), count=1)
            text = text if column is None else as_written(text, row, column)
            raise BadCellError(row.where(label), placed(text, row.sheet)) from None


def _refuse_double(delivered: Sequence[tuple[Row, model.Delivery]]) -> None:
    """Check that what a contract delivered at a time is there once."""
    ordered = sorted(delivered, key=lambda each: (each[1].start_ns, each[0].number))
    for (first, before), (second, after) in pairwise(ordered):
        if after.start_ns < before.end_ns:
            above, below = sorted((first, second), key=lambda row: row.number)
            text = (
                f"what was delivered at {after.start_utc:%Y-%m-%d %H:%M} UTC is there twice; {above.where('start_utc')} has it"
            )
            raise BadCellError(below.where("start_utc"), f"{text} already")


def _with_bands(base: Entry, entries: Sequence[Entry]) -> Entry:
    """A tariff's row without times, with the prices of those that have some."""
    bands: list[dict[str, Any]] = []
    places = dict(base.places)
    for entry in entries:
        if entry is base:
            continue
        for label in ("currency", "valid_from", "valid_to", "source"):
            other = entry.row.cells.get(label)
            if other is not None and other != base.row.cells.get(label):
                text = f"differs from that of {base.row.where(label)}, which is of the same tariff; leave it empty here"
                raise BadCellError(entry.row.where(label), text)
        index = len(bands)
        times = [part.strip() for part in str(entry.row.cells["times"]).split(";")]
        bands.append({"times": times, "per_kwh": entry.data["default_per_kwh"]})
        places |= {("prices", index): (entry.row, "times"), ("prices", index, "per_kwh"): (entry.row, "price")}
    return Entry(base.row, {**base.data, "prices": bands}, places)


def also_at(text: str, cells: Mapping[str, tuple[str, ...]]) -> str:
    """Where the names that a message quotes stand, as words that follow it."""
    hits = [where for name in dict.fromkeys(_QUOTED.findall(text)) for where in cells.get(name, ())]
    hits = [where for where in hits if not where.startswith("sheet Sites,")] or hits  # its site is named beside what is wrong
    return f" ({'; '.join(hits[:6])})" if hits else ""
