"""Rows of a workbook as the document of `org.yaml`: one model validates both, and errors name the cell."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from energy_agent.config.messages import explain_fault, faults_of
from wattlens.report.inputs import model
from wattlens.report.inputs.faults import Faults
from wattlens.report.inputs.inventory import Line
from wattlens.report.inputs.workbook.cells import explain_missing, nested, placed
from wattlens.report.inputs.workbook.columns import SheetColumn, SheetRow, Workbook
from wattlens.report.inputs.workbook.file import read_sheets
from wattlens.report.inputs.workbook.sheets import SHEETS

Loc = tuple[int | str, ...]
_PREFIX = re.compile(r"^key '[^']*'(: | )")
_QUOTED = re.compile(r"'([^']+)'")


def dotted(loc: Loc) -> str:
    """Return a place as a key, such as key 'sites[0].tariffs[1].default_per_kwh'."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return f"key {text.lstrip('.')!r}"


@dataclass(frozen=True, slots=True)
class ParsedInputs:
    """An input file, parsed and validated.

    Args:
        organisation: everything except the inventory's lines.
        lines: inventory lines of a workbook, with the cell of each.
        cells: cell of each name in a workbook, for messages about several rows.
        where: names the key or cell of a place in `organisation`.
        contract_cells: cell of the beneficiary and of the serials by (site, contract, column) in a workbook.
    """

    organisation: model.OrgFile
    lines: tuple[Line, ...] = ()
    cells: Mapping[str, Sequence[str]] = field(default_factory=dict)
    where: Callable[[Loc], str] = dotted
    contract_cells: Mapping[tuple[str, str, str], str] = field(default_factory=dict)


def read_workbook(raw: bytes, book: str) -> ParsedInputs:
    """Parse the rows of a workbook.

    Args:
        raw: its bytes.
        book: its name, for messages.

    Raises:
        UsageError: all errors, one line per cell: the problem, and the expected content.
    """
    faults = Faults(book)
    sheets = read_sheets(raw, faults)
    if any(number == 1 for _, number in faults.rows):
        faults.refuse()  # columns without a name make it impossible to check their cells
    return _Reading(sheets, faults).inputs()


class _Reading:
    """One workbook: its document, and the row or cell of each part of it."""

    def __init__(self, sheets: Mapping[str, Sequence[SheetRow]], faults: Faults) -> None:
        self._sheets, self._faults = sheets, faults
        self._places: dict[Loc, tuple[SheetRow, str]] = {}
        self._cells: dict[str, list[str]] = {}
        self._sites: dict[str, tuple[Loc, dict[str, Any]]] = {}
        self._contracts: dict[tuple[str, str], tuple[Loc, dict[str, Any]]] = {}
        self._document: dict[str, Any] = {}

    def inputs(self) -> ParsedInputs:
        """Everything, the sheets that others refer to first."""
        organisation = list(self._entries("Organisation"))
        for row, data in organisation:
            self._document, self._places[()] = data, (row, "")
        for row, _ in organisation[1:]:
            row.tell(self._faults, "", "expected one row in sheet Organisation; delete this one")
        for row, data in self._entries("Sites"):
            loc = self._put((), self._document, "sites", row, data)
            self._hours(loc, row, data)
            self._sites.setdefault(str(row.cells.get("name")), (loc, data))
        for sheet in SHEETS[2:]:
            if sheet.title == "Tariffs":
                self._tariffs()
                continue
            for row, data in self._entries(sheet.title):
                self._add(sheet.keys, row, data)
        try:
            document = Workbook.model_validate(self._document)
        except ValidationError as error:
            unread = frozenset(self._faults.rows)
            for fault in faults_of(error):
                self._explain(fault, unread)
        self._faults.refuse()
        rows = self._sheets.get("Inventory", ())
        lines = tuple((f"{self._faults.book}: {r.where('site')}", each) for r, each in zip(rows, document.devices, strict=True))
        named = ((key, self._places[loc][0]) for key, (loc, _) in self._contracts.items())
        proofs = {(*k, name): row.where(name) for k, row in named for name in ("beneficiary", "serials") if name in row.cells}
        return ParsedInputs(document, lines, self._cells, self._where, proofs)

    def _entries(self, title: str) -> Iterator[tuple[SheetRow, dict[str, Any]]]:
        for row in self._sheets.get(title, ()):
            if row.sheet.name:
                name = row.cells.get(row.sheet.name, "")
                self._cells.setdefault(str(name), []).append(row.where(row.sheet.name))
            yield row, nested(row, self._faults)

    def _add(self, keys: tuple[str, ...], row: SheetRow, data: dict[str, Any]) -> None:
        """Add an object to the list that its sheet is: of the whole, of its site or of its contract."""
        match keys:
            case ("sites", _, _):
                self._delivery(row, data)
            case ("sites", key):
                loc = self._at_site(key, row, data)
                if loc and key == "contracts":
                    self._contracts.setdefault((str(row.cells["site"]), str(row.cells.get("id"))), (loc, data))
            case _:
                loc = self._put((), self._document, keys[0], row, data)
                if keys == ("teams",):
                    self._labels(loc, row, data)

    def _put(self, above: Loc, section: dict[str, Any], key: str, row: SheetRow, data: dict[str, Any]) -> Loc:
        """Add an object to a list of the document; returns where it is in it."""
        listed = section.setdefault(key, [])
        loc = (*above, key, len(listed))
        self._places[loc] = row, ""
        listed.append(data)
        return loc

    def _at_site(self, key: str, row: SheetRow, data: dict[str, Any]) -> Loc:
        """Add an object to the site that its row names; () where there is no such site."""
        site = str(row.cells.get("site"))
        if site in self._sites:
            return self._put(*self._sites[site], key, row, data)
        if not row.is_in(self._faults, "site"):
            site_names = ", ".join(self._sites) or "none"
            row.tell(self._faults, "site", f"unknown site {site[:80]!r}; sheet Sites has: {site_names[:200]}")
        return ()

    def _delivery(self, row: SheetRow, data: dict[str, Any]) -> None:
        site, contract = str(row.cells.get("site")), str(row.cells.get("contract", ""))
        if (site, contract) in self._contracts:
            self._put(*self._contracts[site, contract], "deliveries", row, data)
        elif not row.is_in(self._faults, "site", "contract"):
            row.tell(self._faults, "contract", f"{contract[:80]!r} is not a contract or certificate of site {site[:80]!r}")

    def _tariffs(self) -> None:
        """One tariff of every row with its id: the one without times, then those with."""
        groups: dict[tuple[str, str], list[tuple[SheetRow, dict[str, Any]]]] = {}
        for row, data in self._entries("Tariffs"):
            groups.setdefault((str(row.cells.get("site")), str(row.cells.get("id"))), []).append((row, data))
        for (_, name), entries in groups.items():
            base = [each for each in entries if "times" not in each[0].cells]
            if len(base) != 1:
                text = f"tariff {name!r}: expected one row without times (the price at all other times), got {len(base)}"
                (base or entries)[-1][0].tell(self._faults, "times", text)
                continue
            loc, at = self._at_site("tariffs", *base[0]), base[0][0]
            for row, data in (each for each in entries if each is not base[0] and loc):
                for label in ("currency", "valid_from", "valid_to", "source"):
                    if row.cells.get(label, at.cells.get(label)) != at.cells.get(label):
                        text = f"differs from {at.where(label)}, a row of the same tariff; leave it empty here"
                        row.tell(self._faults, label, text)
                times = [part.strip() for part in str(row.cells["times"]).split(";")]
                band = self._put(loc, base[0][1], "prices", row, {"times": times, "per_kwh": data.get("default_per_kwh")})
                self._places |= {band: (row, "times"), (*band, "per_kwh"): (row, "price")}

    def _hours(self, loc: Loc, row: SheetRow, data: dict[str, Any]) -> None:
        """The file with a grid's hours, as the source that it is in org.yaml."""
        labels = {"path": "hours_file", "publisher": "hours_publisher", "licence": "hours_licence"}
        config = {key: row.cells[label] for key, label in labels.items() if label in row.cells}
        if config:
            data.setdefault("grid", {})["sources"] = [{"csv_file": config}]
            self._places |= {(*loc, "grid", "sources", 0, "csv_file", key): (row, label) for key, label in labels.items()}

    def _labels(self, loc: Loc, row: SheetRow, data: dict[str, Any]) -> None:
        """The globs of a rule's other labels."""
        match = data.setdefault("match", {})
        for pair in filter(None, (part.strip() for part in str(row.cells.get("labels", "")).split(";"))):
            key, equals, glob = (part.strip() for part in pair.partition("="))
            if not (key and equals and glob) or key in match:
                row.tell(self._faults, "labels", f"expected key=glob with each key once, got {pair[:80]!r}")
            match[key] = glob
            self._places[*loc, "match", key] = row, "labels"
        if not match:
            row.tell(self._faults, "", "expected at least one glob that selects workloads, such as *")

    def _place(self, loc: Loc) -> tuple[int, SheetRow | None, str]:
        """Return (number of keys that lead to the row, the row or None, label of the column or "") of a value."""
        size = next((n for n in range(len(loc), -1, -1) if loc[:n] in self._places), -1)
        row, label = self._places[loc[:size]] if size >= 0 else (None, "")
        if row is not None and not label:
            paths = [loc[size:end] for end in range(len(loc), size, -1)]
            label = next((c.label for p in paths for c in row.sheet.columns if c.path == p), "")
        return size, row, label

    def _where(self, loc: Loc) -> str:
        _, row, label = self._place(loc)
        return dotted(loc) if row is None else row.where(label)

    def _explain(self, fault: Any, unread: Collection[tuple[str, int]]) -> None:
        """Name a fault of the document by its cell, once.

        Of the rows in `unread` some cells are not in the document: only a cell that has a value is at fault there.
        """
        loc = tuple(part for part in fault["loc"] if part != "[key]")
        size, row, label = self._place(loc)
        column = None if row is None else next((c for c in row.sheet.columns if c.label == label), None)
        if row is None or (size == 0 and column is None):
            text = explain_fault(fault, Workbook)
            self._faults.tell(f"{text}{also_at(text, self._cells)}")
            return
        cells = (label, column.unit_label) if column is not None and column.units else (label,)
        if row.is_in(self._faults, *cells) or ((row.sheet.title, row.number) in unread and label not in row.cells):
            return
        if fault["type"] == "missing" and column is not None:
            row.tell(self._faults, label, explain_missing(row.sheet, column))
            return
        amount = column if column is not None and column.units and fault["type"] != "value_error" else None
        text = _PREFIX.sub("", _explain_amount(fault, row, amount) if amount else explain_fault(fault, Workbook), count=1)
        if fault["type"] == "value_error":
            text += also_at(text, self._cells, row.where(row.sheet.name))
        elif amount:
            text += f" ({row.cells[amount.unit_label]})"
        row.tell(self._faults, label, placed(text, row.sheet))


def _explain_amount(fault: Any, row: SheetRow, column: SheetColumn) -> str:
    """A fault of an amount with the value that its cell holds, and with limits in the unit of the cell."""
    assert column.units is not None
    factor = float(column.units[row.cells[column.unit_label]])
    return explain_fault({**fault, "input": row.cells[column.label]}, Workbook, factor)


def also_at(text: str, cells: Mapping[str, Sequence[str]], own_place: str = "") -> str:
    """Where the names that a message quotes stand, but for the message's own place, as words that follow it."""
    hits = [where for name in dict.fromkeys(_QUOTED.findall(text)) for where in cells.get(name, ()) if where != own_place]
    hits = [where for where in hits if not where.startswith("sheet Sites,")] or hits  # the message names its site as well
    return f" ({'; '.join(hits[:6])})" if hits else ""
