"""The facts as a workbook: sheets that an auditor sorts, sums and follows back to facts.json. The sums in it are live."""

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from energy_agent.core.units import J_PER_KWH
from reports.figures.facts import Facts
from reports.figures.figure import Figure, plain, rounded
from reports.frameworks.answers import boundary_of, ends_of, estimated_text, period_of
from reports.frameworks.datapoints import IndexRow
from reports.language import Translator
from reports.page.labels import label_id
from reports.page.partition import CO2E, co2e_prefix, unallocated, whole, whole_id
from reports.page.sections.energy import GROUPS, named
from reports.page.sections.frameworks import rows_of
from reports.page.sections.headline import tiles
from reports.page.sections.reconciliation import cells
from reports.page.tables import with_unit

_WIDTHS: Final = {0: 46, 1: 18, 2: 18, 3: 18}
_SCALES: Final = {"kWh": Fraction(1, J_PER_KWH), "kg": Fraction(1, 1000), "": Fraction(1)}
_Columns = tuple[tuple[str, str, str], ...]
_SITE: Final[_Columns] = (
    ("energy.gpu", "value", "kWh"),
    ("energy.gpu", "low", "kWh"),
    ("energy.gpu", "high", "kWh"),
    ("energy.node", "value", "kWh"),
    ("energy.facility", "value", "kWh"),
    ("co2e.location", "value", "kg"),
    ("co2e.market", "value", "kg"),
)
"""Everything that a site used, for any consumer: (quantity, part of it, unit)."""
_HELD: Final[_Columns] = (
    ("energy.held", "value", "kWh"),
    ("energy.held", "low", "kWh"),
    ("energy.held", "high", "kWh"),
    ("energy.held.active", "value", "kWh"),
    ("energy.held.idle", "value", "kWh"),
    ("gpu_hours", "value", ""),
    ("energy.held.node", "value", "kWh"),
    ("energy.held.facility", "value", "kWh"),
    ("energy.held.inventory", "value", "kWh"),
    ("co2e.held.location", "value", "kg"),
    ("co2e.held.market", "value", "kg"),
)
"""What workloads held of it."""
_BOUNDS: Final = {"low": "at_least", "high": "at_most"}
CREATED: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a workbook's date has no zone; fixed, so that its bytes are


def xlsx(facts: Facts, say: Translator) -> bytes:
    """The workbook's bytes, the same for the same facts."""
    import xlsxwriter

    raw = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(raw, options) as book:
        book.set_properties({"title": facts.label, "author": facts.organisation or "Wattlens", "created": CREATED})
        _Writer(book, facts, say).write()
    return raw.getvalue()


class _Writer:
    """Writes the sheets of one workbook."""

    def __init__(self, book: Any, facts: Facts, say: Translator) -> None:
        self._book, self._facts, self._say = book, facts, say
        head = {"bold": True, "bg_color": "#0f4c5c", "font_color": "#ffffff", "text_wrap": True, "valign": "top"}
        self._head = book.add_format(head)
        self._title = book.add_format({"bold": True, "font_size": 15})
        self._number = book.add_format({"num_format": "#,##0.000"})
        self._sum = book.add_format({"num_format": "#,##0.000", "bold": True, "top": 1})
        self._bold = book.add_format({"bold": True, "top": 1})
        self._text = book.add_format({"text_wrap": True, "valign": "top"})

    def write(self) -> None:
        """Every sheet."""
        facts, say = self._facts, self._say
        self._summary()
        self._table(say("sites"), say("site"), _SITE, [(name, f"/site/{name}") for name in facts.sites])
        for dimension, title in (("site", "sites"), *GROUPS):
            figures = facts.of("energy.held", dimension)
            names = [(named(f, dimension, say), f"/{dimension}/{f.dims[dimension]}") for f in figures]
            if names:
                self._table(say("title_held_by_workloads", title=say(title)), say(title), _HELD, names)
        heads = ("id", *map(say, ("value", "at_least", "at_most", "unit", "method", "boundary", "coverage", "dimensions",
                                  "factors", "reason")))  # fmt: skip
        self._list(say("figures"), heads, map(_of_figure, facts.by_prefix("")))
        heads = ("id", *map(say, ("value", "unit", "zone", "year", "basis", "publisher", "licence")), "SHA-256")
        factors = ((used.factor, used.sha256) for used in facts.factors)
        rows = (
            (f.id, float(f.value), f.unit, f.zone_name, f.year, say.translate(f"{f.boundary}, {f.accounting}"), f.publisher,
             f.licence, sha256)
            for f, sha256 in factors
        )  # fmt: skip
        self._list(say("factors"), heads, rows)
        self._reconciliation()
        index = rows_of(facts, say)
        heads = (*map(say, ("framework", "datapoint", "what_is_asked", "value", "at_least", "at_most", "unit", "state",
                            "period", "boundary", "share_of_estimates", "figures", "input")),)  # fmt: skip
        period = period_of(facts)
        answers = (
            (row.title, row.datapoint, row.text, *numbers, row.unit, say(row.state),
             period if row.answered_by or row.texts else "", boundary_of(facts, row), _number(estimated_text(facts, row)),
             identity, "; ".join(row.missing))
            for row in index
            for identity, numbers in _answers(facts, row)
        )  # fmt: skip
        self._list(say("framework_index"), heads, answers)
        heads = tuple(map(say, ("site", "day_utc", "statement", "sha_256_of_its_segments", "why_it_was_stated_anew")))
        days = ((d.site, d.day, str(d.statement), d.inputs_sha256, d.reason) for d in facts.days)
        self._list(say("ledger_days"), heads, days)

    def _reconciliation(self) -> None:
        """Invoices, meters and ledger by period; no sheet where no site has invoices."""
        figures = self._facts.by_prefix("reconciliation/")
        if not figures:
            return
        say = self._say
        energy = tuple(say("with_unit", name=say(name), unit="kWh") for name in ("invoiced", "supply_meter", "in_the_ledger"))
        ratios = tuple(say(name) for name in ("invoice_against_meter", "ledger_against_invoice", "finding"))
        rows = []
        for figure in figures:
            dims, scale = figure.dims, _SCALES["kWh"]
            kwh_cells = [float(Fraction(dims[key]) * scale) if key in dims else None for key in ("meter_j", "ledger_j")]
            off = [float(dims[key]) if key in dims else None for key in ("meter_variance", "ledger_variance")]
            site, period, *_, state = cells(figure, say)
            invoiced = None if figure.value is None else float(figure.value * scale)
            rows.append((site, period, dims["invoices"], invoiced, *kwh_cells, *off, state))
        heads = (say("site"), say("invoice_period"), say("invoiced"), *energy, *ratios)
        self._list(say("reconciliation"), heads, rows)

    def _summary(self) -> None:
        facts, say = self._facts, self._say
        sheet = self._book.add_worksheet(say("summary")[:31])
        for column, width in enumerate((34, 22, 70)):
            sheet.set_column(column, column, width)
        sheet.write_string(0, 0, say("energy_and_emissions", period=facts.label or "\u2013"), self._title)
        marks = ((facts.simulated, "simulated"), (facts.status == "interim", "interim"))
        lines = [facts.organisation, *(say(mark) for holds, mark in marks if holds)]
        sheet.write_string(1, 0, " \u00b7 ".join(line for line in lines if line))
        for row, tile in enumerate(tiles(facts, say), 3):
            sheet.write_string(row, 0, tile.label)
            sheet.write_string(row, 1, tile.value)
            sheet.write_string(row, 2, f"{tile.detail}{'; ' if tile.trend else ''}{tile.trend}", self._text)
        sheet.write_string(13, 0, say("every_number_here"), self._text)

    def _sheet(self, name: str, heads: Sequence[str]) -> Any:
        sheet = self._book.add_worksheet(name[:31])
        for column, title in enumerate(heads):
            sheet.write_string(0, column, title, self._head)
            sheet.set_column(column, column, _WIDTHS.get(column, 22))
        sheet.freeze_panes(1, 1)
        return sheet

    def _list(self, name: str, heads: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> None:
        """A sheet of cells as they are; None: an empty one."""
        sheet = self._sheet(name, heads)
        last = 0
        for last, row in enumerate(rows, 1):
            for column, cell in enumerate(row):
                if cell is not None:
                    sheet.write(last, column, cell)
        sheet.autofilter(0, 0, last, len(heads) - 1)

    def _table(self, name: str, first: str, columns: _Columns, names: list[tuple[str, str]]) -> None:
        """A row for each name and the suffix of its figures' ids; what is in no workload; and the total of the meter.

        A total is the sum of the rows, which the spreadsheet makes itself, where each of them is known; else it is the meter's
        figure. What has no total in the facts, such as grams of different emissions, has none here.
        """
        facts, say = self._facts, self._say
        columns = tuple((q.replace(CO2E, co2e_prefix(facts)), part, unit) for q, part, unit in columns)
        heads = [
            with_unit(say, _BOUNDS[part], unit) if part in _BOUNDS else with_unit(say, label_id(quantity), unit)
            for quantity, part, unit in columns
        ]
        sheet = self._sheet(name, [first, *heads])
        lines: list[tuple[str, list[Fraction | None]]] = [
            (name, [_value(facts.figures.get(quantity + suffix), part) for quantity, part, _ in columns])
            for name, suffix in names
        ]
        if any(whole_id(quantity) for quantity, _, _ in columns):  # of groups
            rest = [unallocated(facts, quantity) if part == "value" else None for quantity, part, _ in columns]
            lines.append((say("unallocated"), rest))
        last = len(lines)
        for row, (name, _) in enumerate(lines, 1):
            sheet.write_string(row, 0, name)
        sheet.write_string(last + 1, 0, say("total"), self._bold)
        for column, (quantity, part, unit) in enumerate(columns, 1):
            parts, scale, letter = [values[column - 1] for _, values in lines], _SCALES[unit], chr(ord("A") + column)
            for row, value in enumerate(parts, 1):
                self._cell(sheet, row, column, value, scale, self._number)
            total = _total(facts, quantity, part, parts)
            self._cell(sheet, last + 1, column, total, scale, self._sum)
            if total is not None and part == "value" and abs(sum(filter(None, parts), -total)) <= abs(total) / 10**6:
                # With its value, for readers that do not calculate.
                live = f"=SUM({letter}2:{letter}{last + 1})"
                sheet.write_formula(last + 1, column, live, self._sum, float(total * scale))
        sheet.autofilter(0, 0, last, len(columns))

    def _cell(self, sheet: Any, row: int, column: int, value: Fraction | None, scale: Fraction, style: Any) -> None:
        if value is None:
            sheet.write_string(row, column, "\u2013", *([style] if style is self._sum else []))
        else:
            sheet.write_number(row, column, float(value * scale), style)


def _answers(facts: Facts, row: IndexRow) -> Iterator[tuple[str, tuple[str | float | None, ...]]]:
    """Each figure that answers a datapoint, the total before its parts: value, or lower and upper end. One line without any."""
    for identity, text in row.texts.items():
        yield identity, (text, None, None)
    for identity in sorted(row.answered_by, key=lambda i: ("/" in i, i)):
        ends = [float(plain(rounded(end))) for end in ends_of(facts, identity, row.asked)]
        cells = ends if facts.figures[identity].value is not None else [None, *ends]
        yield identity, (*cells, None, None, None)[:3]
    if not row.texts and not row.answered_by:
        yield "", (None, None, None)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _value(figure: Figure | None, part: str) -> Fraction | None:
    value: Fraction | None = None if figure is None else getattr(figure, part)
    return value


def _total(facts: Facts, quantity: str, part: str, parts: list[Fraction | None]) -> Fraction | None:
    """Of a column: the meter's where it is of groups, else the figure of all, else the sum of what is known in each row."""
    meter = facts.figures.get(whole_id(quantity) or quantity)
    if part != "value" or whole_id(quantity):
        return _value(meter, part)
    if meter is not None and meter.value is None:
        return None
    whole_value = whole(facts, quantity)
    if whole_value is not None:
        return whole_value
    present = [value for value in parts if value is not None]
    return sum(present, Fraction(0)) if len(present) >= len(parts) - 1 else None


def _of_figure(f: Figure) -> tuple[str | float | None, ...]:
    numbers = (None if number is None else float(number) for number in (f.value, f.low, f.high))
    dims = "; ".join(f"{k}={v}" for k, v in sorted(f.dims.items()))
    return (f.id, *numbers, f.unit, f.method, f.boundary, plain(f.coverage), dims, " ".join(f.factor_ids), f.reason or "")
