"""The facts as a workbook: sheets that an auditor sorts, sums and follows back to facts.json. The sums in it are live."""

import io
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from energy_agent.core.units import J_PER_KWH
from reports.facts import Facts
from reports.figures import Figure
from reports.language import Say
from reports.sections.headline import tiles

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
        _table(book, styles, say("Sites"), say("Site"), _SITE, [(name, f"/site/{name}") for name in facts.sites], facts, say)
        for dimension, title in (
            ("site", "Sites"),
            ("team", "Teams"),
            ("project", "Projects"),
            ("model", "Models"),
            ("kind", "Kinds"),
        ):
            names = [(f.dims[dimension] or say("not told"), f"/{dimension}/{f.dims[dimension]}")
                     for f in facts.of("energy.held", dimension)]  # fmt: skip
            if names:
                held = say("{title}, held by workloads", title=say(title))
                _table(book, styles, held, say(title), _HELD, names, facts, say)
        _figures(book, styles, facts, say)
        _factors(book, styles, facts, say)
        _days(book, styles, facts, say)
    return raw.getvalue()


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
    """A row for each name and the suffix of its figures' ids, with sums that the spreadsheet makes itself.

    What has no total in the facts, such as grams of different emissions, has no sum here.
    """
    heads = [first, *(say(title) for title, _, _, _ in columns)]
    sheet = _sheet(book, styles, sheet_name, heads)
    totals = [facts.figures.get(quantity) for _, quantity, _, _ in columns]
    sums = [None if whole is not None and whole.value is None else Fraction(0) for whole in totals]
    for row, (name, suffix) in enumerate(names, 1):
        sheet.write_string(row, 0, name)
        for column, (_, quantity, part, scale) in enumerate(columns, 1):
            found: Figure | None = facts.figures.get(quantity + suffix)
            value, before = None if found is None else getattr(found, part), sums[column - 1]
            if value is not None:
                sheet.write_number(row, column, float(Fraction(value) * scale), styles.number)
                sums[column - 1] = None if before is None else before + Fraction(value) * scale
            else:
                sheet.write_string(row, column, "\u2013")
                sums[column - 1] = None
    last = len(names)
    sheet.write_string(last + 1, 0, say("sum"), styles.bold)
    for column, total in enumerate(sums, 1):
        letter = chr(ord("A") + column)
        if total is None:  # a part of it is absent, and the rest is no sum
            sheet.write_string(last + 1, column, "\u2013", styles.sum)
        else:  # with its value, for readers that do not calculate
            sheet.write_formula(last + 1, column, f"=SUM({letter}2:{letter}{last + 1})", styles.sum, float(total))
    sheet.autofilter(0, 0, last, len(columns))


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
                sheet.write_number(row, column, float(Fraction(value)))
        for column, text in enumerate(
            (f.unit, f.method, f.boundary, f.coverage or "", dims, " ".join(f.factor_ids), f.reason or ""), 4
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
