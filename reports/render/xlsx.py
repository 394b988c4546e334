"""The facts as a workbook: sheets that an auditor sorts, sums and follows back to facts.json. The sums in it are live."""

import io
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from energy_agent.core.units import J_PER_KWH
from reports.figures.facts import Facts
from reports.figures.figure import Figure, plain
from reports.language import Say
from reports.page.partition import CO2E, LIFE_CYCLE, co2e_prefix, unallocated, whole, whole_id
from reports.page.sections.headline import tiles

_WIDTHS: Final = {0: 46, 1: 18, 2: 18, 3: 18}
_KWH: Final = Fraction(1, J_PER_KWH)
_KG: Final = Fraction(1, 1000)
_Columns = tuple[tuple[str, str, str, Fraction], ...]
_SITE: Final[_Columns] = (
    ("GPUs, kWh", "energy.gpu", "value", _KWH),
    ("at least, kWh", "energy.gpu", "low", _KWH),
    ("at most, kWh", "energy.gpu", "high", _KWH),
    ("nodes, kWh", "energy.node", "value", _KWH),
    ("building, kWh", "energy.facility", "value", _KWH),
    ("CO2e location, kg", "co2e.location", "value", _KG),
    ("CO2e market, kg", "co2e.market", "value", _KG),
)
"""All that a site used, whoever held it: (head, figure, part of it, scale)."""
_HELD: Final[_Columns] = (
    ("GPUs, kWh", "energy.held", "value", _KWH),
    ("at least, kWh", "energy.held", "low", _KWH),
    ("at most, kWh", "energy.held", "high", _KWH),
    ("active, kWh", "energy.held.active", "value", _KWH),
    ("idle, kWh", "energy.held.idle", "value", _KWH),
    ("GPU hours", "gpu_hours", "value", Fraction(1)),
    ("nodes, kWh", "energy.held.node", "value", _KWH),
    ("building, kWh", "energy.held.facility", "value", _KWH),
    ("CO2e location, kg", "co2e.held.location", "value", _KG),
    ("CO2e market, kg", "co2e.held.market", "value", _KG),
)
"""What workloads held of it."""
_OF_LIFE_CYCLE: Final = {
    "CO2e location, kg": "life-cycle CO2e location, kg",
    "CO2e market, kg": "life-cycle CO2e market, kg",
}
CREATED: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a workbook's date has no zone; fixed, so that its bytes are


def xlsx(facts: Facts, say: Say) -> bytes:
    """The workbook's bytes, the same for the same facts."""
    import xlsxwriter

    raw = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(raw, options) as book:
        book.set_properties({"title": facts.label, "author": facts.organisation or "Wattlens", "created": CREATED})
        styles = _Styles(book)
        _summary(book, styles, facts, say)
        _table(
            book,
            styles,
            say("Sites"),
            say("Site"),
            _columns(facts, _SITE),
            [(name, f"/site/{name}") for name in facts.sites],
            facts,
            say,
        )
        for dimension, title in (
            ("site", "Sites"),
            ("team", "Teams"),
            ("project", "Projects"),
            ("model", "Models"),
            ("kind", "Kinds"),
        ):
            names = [(f.dims[dimension] or say("unassigned"), f"/{dimension}/{f.dims[dimension]}")
                     for f in facts.of("energy.held", dimension)]  # fmt: skip
            if names:
                held = say("{title}, held by workloads", title=say(title))
                _table(book, styles, held, say(title), _columns(facts, _HELD), names, facts, say)
        _figures(book, styles, facts, say)
        _factors(book, styles, facts, say)
        _days(book, styles, facts, say)
    return raw.getvalue()


def _columns(facts: Facts, columns: _Columns) -> _Columns:
    """The columns, with CO2e under the name of what it counts."""
    if co2e_prefix(facts) == CO2E:
        return columns
    return tuple((_OF_LIFE_CYCLE.get(head, head), q.replace(CO2E, LIFE_CYCLE), part, scale) for head, q, part, scale in columns)


class _Styles:
    """The few formats that there are."""

    def __init__(self, book: Any) -> None:
        self.head = book.add_format(
            {"bold": True, "bg_color": "#0f4c5c", "font_color": "#ffffff", "text_wrap": True, "valign": "top"}
        )
        self.title = book.add_format({"bold": True, "font_size": 15})
        self.number = book.add_format({"num_format": "#,##0.000"})
        self.sum = book.add_format({"num_format": "#,##0.000", "bold": True, "top": 1})
        self.bold = book.add_format({"bold": True, "top": 1})
        self.text = book.add_format({"text_wrap": True, "valign": "top"})


def _sheet(book: Any, styles: _Styles, name: str, columns: list[str]) -> Any:
    sheet = book.add_worksheet(name[:31])
    for column, title in enumerate(columns):
        sheet.write_string(0, column, title, styles.head)
        sheet.set_column(column, column, _WIDTHS.get(column, 22))
    sheet.freeze_panes(1, 1)
    return sheet


def _summary(book: Any, styles: _Styles, facts: Facts, say: Say) -> None:
    sheet = book.add_worksheet(say("Summary")[:31])
    sheet.set_column(0, 0, 34)
    sheet.set_column(1, 1, 22)
    sheet.set_column(2, 2, 70)
    sheet.write_string(0, 0, say("Energy and emissions, {period}", period=facts.label or "\u2013"), styles.title)
    lines = [
        facts.organisation,
        *([say("SIMULATED")] if facts.simulated else []),
        *([say("INTERIM")] if facts.status == "interim" else []),
    ]
    sheet.write_string(1, 0, " \u00b7 ".join(line for line in lines if line))
    for row, tile in enumerate(tiles(facts, say), 3):
        sheet.write_string(row, 0, tile.label)
        sheet.write_string(row, 1, tile.value)
        sheet.write_string(row, 2, f"{tile.detail}{'; ' if tile.trend else ''}{tile.trend}", styles.text)
    sheet.write_string(13, 0, say("Every number here is a rounded form of facts.json, which is exact."), styles.text)


def _table(
    book: Any,
    styles: _Styles,
    sheet_name: str,
    first: str,
    columns: _Columns,
    names: list[tuple[str, str]],
    facts: Facts,
    say: Say,
) -> None:
    """A row for each name and the suffix of its figures' ids; what is in no workload; and the total of the meter.

    A total is the sum of the rows, which the spreadsheet makes itself, where each of them is known; else it is the meter's
    figure. What has no total in the facts, such as grams of different emissions, has none here.
    """
    heads = [first, *(say(title) for title, _, _, _ in columns)]
    sheet = _sheet(book, styles, sheet_name, heads)
    lines: list[tuple[str, list[Fraction | None]]] = [
        (name, [_value(facts.figures.get(quantity + suffix), part) for _, quantity, part, _ in columns])
        for name, suffix in names
    ]
    of_groups = any(whole_id(quantity) for _, quantity, _, _ in columns)
    if of_groups:
        rest = [unallocated(facts, quantity) if part == "value" else None for _, quantity, part, _ in columns]
        lines.append((say("unallocated"), rest))
    for row, (name, values) in enumerate(lines, 1):
        sheet.write_string(row, 0, name)
        for column, (value, (_, _, _, scale)) in enumerate(zip(values, columns, strict=True), 1):
            if value is not None:
                sheet.write_number(row, column, float(value * scale), styles.number)
            else:
                sheet.write_string(row, column, "\u2013")
    last = len(lines)
    sheet.write_string(last + 1, 0, say("total"), styles.bold)
    for column, (_, quantity, part, scale) in enumerate(columns, 1):
        parts = [values[column - 1] for _, values in lines]
        total = _total(facts, quantity, part, parts)
        letter = chr(ord("A") + column)
        if total is None:
            sheet.write_string(last + 1, column, "\u2013", styles.sum)
        elif part != "value" or abs(sum((v for v in parts if v is not None), -total)) > abs(total) / 10**6:
            sheet.write_number(last + 1, column, float(total * scale), styles.sum)
        else:  # with its value, for readers that do not calculate
            sheet.write_formula(last + 1, column, f"=SUM({letter}2:{letter}{last + 1})", styles.sum, float(total * scale))
    sheet.autofilter(0, 0, last, len(columns))


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
    known = whole(facts, quantity)
    if known is not None:
        return known
    found = [value for value in parts if value is not None]
    return sum(found, Fraction(0)) if len(found) >= len(parts) - 1 else None


def _figures(book: Any, styles: _Styles, facts: Facts, say: Say) -> None:
    columns = ["id", say("value"), say("at least"), say("at most"), say("unit"), say("method"), say("boundary"),
               say("coverage"),
               say("dimensions"), say("factors"), say("reason")]  # fmt: skip
    sheet = _sheet(book, styles, say("Figures"), columns)
    for row, identity in enumerate(sorted(facts.figures), 1):
        f = facts.figures[identity]
        dims = "; ".join(f"{k}={v}" for k, v in sorted(f.dims.items()))
        sheet.write_string(row, 0, f.id)
        for column, value in enumerate((f.value, f.low, f.high), 1):
            if value is not None:
                sheet.write_number(row, column, float(value))
        for column, text in enumerate(
            (f.unit, f.method, f.boundary, plain(f.coverage), dims, " ".join(f.factor_ids), f.reason or ""), 4
        ):
            sheet.write_string(row, column, text)
    sheet.autofilter(0, 0, len(facts.figures), len(columns) - 1)


def _factors(book: Any, styles: _Styles, facts: Facts, say: Say) -> None:
    columns = [
        "id",
        say("value"),
        say("unit"),
        say("zone"),
        say("year"),
        say("basis"),
        say("publisher"),
        say("licence"),
        "SHA-256",
    ]
    sheet = _sheet(book, styles, say("Factors"), columns)
    for row, used in enumerate(facts.factors, 1):
        f = used.factor
        cells = (
            f.id,
            str(f.value),
            f.unit,
            f.zone_name,
            str(f.year),
            say(f"{f.boundary}, {f.accounting}"),
            f.publisher,
            f.licence,
            used.sha256,
        )
        for column, text in enumerate(cells):
            sheet.write_string(row, column, text)


def _days(book: Any, styles: _Styles, facts: Facts, say: Say) -> None:
    columns = [say("site"), say("day (UTC)"), say("statement"), say("SHA-256 of its segments"), say("why it was stated anew")]
    sheet = _sheet(book, styles, say("Ledger days"), columns)
    for row, day in enumerate(facts.days, 1):
        for column, text in enumerate((day.site, day.day, str(day.statement), day.inputs_sha256, day.reason)):
            sheet.write_string(row, column, text)
