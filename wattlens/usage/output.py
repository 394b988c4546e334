"""A statement as a table, CSV or JSON. `energy_uj` is exact; an absent value is empty, and `absent` has the reason."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from math import ceil, floor, log10
from typing import Any, Final, TextIO

from energy_agent.core.quantity import Quantity
from energy_agent.core.text import harmless, printable
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.sdk.frame import reasons_text
from reports.figures.energy import UNSEEN, BoundedEnergy
from reports.figures.figure import QUOTIENT_DIGITS
from reports.period import utc_text
from wattlens.usage.statement import RowKey, RowKind, Usage, UsageRow, joined

SHOWN: Final = 25
"""Rows of a table, besides what belongs to no group."""
PHASES: Final = ("generation", "prompt", "cached", "training")
COLUMNS: Final = (
    "kind", "name", "energy_kwh", "energy_kwh_lower", "energy_kwh_upper", "share_ratio", "energy_uj", "active_uj", "idle_uj",
    "unallocated_uj", "unattributed_uj", "cost", "cost_lower", "cost_upper", "currency", "co2e_g", "co2e_g_lower",
    "co2e_g_upper", "generation_tokens", "prompt_tokens", "cached_tokens", "training_tokens", "absent",
)  # fmt: skip
"""Of a CSV row, and the keys of a row in JSON, where `absent` maps each missing value to its reason."""
_DECIMALS: Final = (
    "energy_kwh", "energy_kwh_lower", "energy_kwh_upper", "share_ratio", "cost", "cost_lower", "cost_upper", "co2e_g",
    "co2e_g_lower", "co2e_g_upper",
)  # fmt: skip
_CONTEXTS: Final = {
    rounding: Context(prec=QUOTIENT_DIGITS, rounding=rounding) for rounding in (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING)
}
_DASH: Final = "-"
NO_BOUNDS: Final = "the sensor's error is unknown"
NO_UPPER: Final = "a gap without a bound"


def write_csv(usage: Usage, file: TextIO, only: RowKey | None = None) -> None:
    """The rows, or only one of them, then the total."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in (*_select(usage, only), usage.total):
        values = row_values(usage, row)
        values["name"] = harmless(str(values["name"]))
        values["absent"] = reasons_text(values["absent"])
        writer.writerow(["" if values[name] is None else values[name] for name in COLUMNS])


def write_json(usage: Usage, file: TextIO, only: RowKey | None = None) -> None:
    """One object. Whole microjoules are text, because JSON readers round large numbers."""
    document = summary_values(usage) | {"rows": [_numbers(usage, row) for row in _select(usage, only)]}
    last = ("total", "boundary_reason")
    document |= {name: document.pop(name) for name in last if name in document}
    file.write(json.dumps(document, indent=1) + "\n")


def summary_values(usage: Usage) -> dict[str, Any]:
    """Period, source, boundary and total of a statement, as JSON has them."""
    scope = usage.scope
    values = {
        "by": usage.by.value,
        "from": utc_text(scope.start_ns),
        "to": utc_text(scope.end_ns),
        "first_reading": utc_text(scope.first_ns),
        "last_reading": utc_text(scope.last_ns),
        "coverage_ratio": None if scope.coverage is None else round(float(scope.coverage), 6),
        "source": scope.source,
        "simulated": scope.simulated,
        "gpus": scope.gpus,
        "nodes": scope.nodes,
        "boundary": "node" if scope.whole_nodes else "gpu",
        "basis": list(usage.basis.values()),
        "total": _numbers(usage, usage.total),
    }
    return values | ({"boundary_reason": scope.gpus_only} if scope.gpus_only else {})


def _numbers(usage: Usage, row: UsageRow) -> dict[str, Any]:
    """The values of a row with numbers as JSON has them."""
    values = row_values(usage, row)
    return values | {name: float(values[name]) for name in _DECIMALS if values[name] is not None}


def row_values(usage: Usage, row: UsageRow) -> dict[str, Any]:
    """The values of COLUMNS; decimal numbers are text, and `absent` maps each missing value to its reason."""
    energy, absent = row.energy, dict[str, str]()
    values: dict[str, Any] = {"kind": row.key.kind.value, "name": row.key.name}
    values |= energy_kwh(energy, absent)
    whole_uj = usage.total.energy.energy_uj
    values["share_ratio"] = decimal_text(Fraction(energy.energy_uj, whole_uj)) if whole_uj and not energy.unseen else None
    if not whole_uj:
        absent["share_ratio"] = "no energy in the period"
    names = ("energy_uj", "active_uj", "idle_uj", "unallocated_uj", "unattributed_uj")
    amounts = (energy.energy_uj, *row.parts.values)
    values |= {name: None if energy.unseen else str(uj) for name, uj in zip(names, amounts, strict=True)}
    if energy.unseen:
        absent |= dict.fromkeys(("energy_kwh", "share_ratio", *names), UNSEEN)
    for name, amount in (("cost", row.cost), ("co2e_g", row.carbon)):
        values[name] = None if amount.value is None else decimal_text(amount.value)
        values[f"{name}_lower"] = None if amount.low is None else decimal_text(amount.low, ROUND_FLOOR)
        values[f"{name}_upper"] = None if amount.high is None else decimal_text(amount.high, ROUND_CEILING)
        if amount.value is None:
            absent[name] = amount.reason
        elif amount.low is None or amount.high is None:
            absent[f"{name}_bounds"] = amount.reason or (NO_BOUNDS if energy.unbounded else NO_UPPER)
    values["currency"] = usage.currency or None
    for phase in PHASES:
        values[f"{phase}_tokens"] = row.tokens.get(phase)
    if not row.tokens and row.no_tokens:
        absent["tokens"] = row.no_tokens
    values["absent"] = absent
    return {name: values[name] for name in COLUMNS}


def energy_kwh(energy: BoundedEnergy, absent: dict[str, str]) -> dict[str, str | None]:
    """Energy with its bounds in kWh; reasons of missing bounds are added to `absent`."""
    values = {"energy_kwh": None if energy.unseen else decimal_text(Fraction(energy.energy_uj, UJ_PER_KWH))}
    for name, uj, rounding in (("lower", energy.low_uj, ROUND_FLOOR), ("upper", energy.high_uj, ROUND_CEILING)):
        values[f"energy_kwh_{name}"] = None if uj is None else decimal_text(Fraction(uj, UJ_PER_KWH), rounding)
        if uj is None:
            absent[f"energy_kwh_{name}"] = NO_BOUNDS if energy.unbounded else NO_UPPER
    return values


def decimal_text(value: Fraction, rounding: str = ROUND_HALF_EVEN) -> str:
    """A number to nine significant digits; the quotient is rounded once."""
    if not value:
        return "0"
    quotient = _CONTEXTS[rounding].divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{quotient.normalize():f}"


def _select(usage: Usage, only: RowKey | None) -> Sequence[UsageRow]:
    return [row for row in usage.rows if only in (None, row.key)]


def table_lines(usage: Usage, max_rows: int = SHOWN, only: RowKey | None = None) -> Iterator[str]:
    """Period and coverage, one line per row, then why a column is empty."""
    yield from _head(usage)
    rows = [*_largest(_select(usage, only), max_rows), usage.total]
    digits = _digits(usage.total.energy.energy_uj, UJ_PER_KWH)
    columns: list[tuple[str, list[str]]] = [
        (usage.by.value.upper(), [printable(row.key.name) for row in rows]),
        ("KWH", [_energy(row, row.energy.energy_uj, digits) for row in rows]),
        ("LOWER", [_bound(row.energy.low_uj, digits, floor) for row in rows]),
        ("UPPER", [_bound(row.energy.high_uj, digits, ceil) for row in rows]),
        ("SHARE", [_percent(row.energy, usage.total.energy) for row in rows]),
        ("IDLE KWH", [_energy(row, row.parts.idle_uj, digits) for row in rows]),
    ]
    columns += _amounts(f"COST {usage.currency}".strip(), [row.cost for row in rows])
    columns += _amounts("CO2E g", [row.carbon for row in rows])
    columns.append(("TOKENS", [_tokens(row) for row in rows]))
    columns = [(name, cells) for name, cells in columns if any(cell != _DASH for cell in cells)]
    yield from aligned(list(zip(*((name, *cells) for name, cells in columns), strict=True)))
    yield from _reasons(usage, rows)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of a table, the head first; the first column is aligned left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, numbers = row[0].ljust(widths[0]), (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join((first, *numbers)).rstrip()


def _head(usage: Usage) -> Iterator[str]:
    scope = usage.scope
    yield f"Energy by {usage.by.value}, {minute(scope.start_ns)} to {minute(scope.end_ns)} UTC"
    what = "whole nodes" if scope.whole_nodes else f"GPUs only ({scope.gpus_only})"
    simulated = "simulated " if scope.simulated else ""
    yield printable(f"{scope.source}: {count(scope.gpus, f'{simulated}GPU')} on {count(scope.nodes, 'node')}; energy of {what}")
    if scope.coverage is not None:
        readings = f"readings from {minute(scope.first_ns)} to {minute(scope.last_ns)}"
        yield f"Coverage {_share(scope.coverage)} of the period's GPU time; {readings}"
    yield ""


def _reasons(usage: Usage, rows: Sequence[UsageRow]) -> Iterator[str]:
    """Why there are dashes, once for each reason."""
    lines = [f"Basis: {', '.join(usage.basis.values())}"] if usage.basis else []
    energy = usage.total.energy
    if energy.unbounded:
        lines.append(f"No bounds: {count(energy.unbounded, 'device')} with unknown sensor error")
    elif energy.open:
        lines.append(f"No upper bound: {count(energy.open, 'device')} with a gap of unbounded energy")
    metered_rows = [row for row in rows if not row.energy.unseen]
    if len(metered_rows) < len(rows):
        lines.append(f"No energy: {UNSEEN}")
    for name, amounts in (("cost", [row.cost for row in metered_rows]), ("CO2e", [row.carbon for row in metered_rows])):
        missing = [amount.reason for amount in amounts if amount.value is None]
        if missing:
            lines.append(f"No {name}: {missing[-1]}")  # of the total, which lacks what any row lacks
    if not usage.total.tokens:
        lines.append(f"No tokens: {usage.total.no_tokens}")
    elif all(not row.tokens for row in rows[:-1]):
        lines.append(f"No tokens: {rows[0].no_tokens}")
    if lines:
        yield ""
        yield from map(printable, lines)


def _largest(rows: Sequence[UsageRow], max_rows: int) -> list[UsageRow]:
    """The rows that a table shows; groups beyond `max_rows` are one row."""
    groups = [row for row in rows if row.key.kind in (RowKind.GROUP, RowKind.NODE)]
    rest = [row for row in rows if row.key.kind not in (RowKind.GROUP, RowKind.NODE)]
    if len(groups) <= max_rows:
        return [*groups, *rest]
    left_out = groups[max_rows:]
    return [*groups[:max_rows], joined(RowKey(RowKind.OTHERS, f"{len(left_out)} others"), left_out), *rest]


def _amounts(name: str, amounts: Sequence[Quantity]) -> list[tuple[str, list[str]]]:
    values = [amount.value for amount in amounts if amount.value is not None]
    digits = _digits(max(values), 1) if values else 0
    return [(name, [_DASH if a.value is None else _fixed(a.value, max(2, digits)) for a in amounts])]


def _tokens(row: UsageRow) -> str:
    """What was produced: generated or trained."""
    counts = [row.tokens[phase] for phase in ("generation", "training") if phase in row.tokens]
    return f"{sum(counts):,}" if counts else _DASH


def _digits(value: Fraction | int, unit: int) -> int:
    """Decimals that show four digits of a number, at least one and at most nine."""
    number = float(Fraction(value) / unit)
    return min(9, max(1, 3 - floor(log10(number)))) if number > 0 else 1


def _fixed(value: Fraction, digits: int) -> str:
    return f"{float(value):,.{digits}f}"


def _energy(row: UsageRow, uj: int, digits: int) -> str:
    return _DASH if row.energy.unseen else _fixed(Fraction(uj, UJ_PER_KWH), digits)


def _bound(uj: int | None, digits: int, to_whole: Callable[[Fraction], int]) -> str:
    """A bound rounded outwards, so that rounding never narrows an interval."""
    return _DASH if uj is None else _fixed(Fraction(to_whole(Fraction(uj * 10**digits, UJ_PER_KWH)), 10**digits), digits)


def _percent(part: BoundedEnergy, whole: BoundedEnergy) -> str:
    return _DASH if part.unseen or not whole.energy_uj else _share(Fraction(part.energy_uj, whole.energy_uj))


def _share(ratio: Fraction) -> str:
    percent = float(100 * ratio)
    return f"{percent:.1f} %" if percent >= 0.1 or not percent else f"{percent:.2g} %"


def minute(t_ns: int) -> str:
    """A UTC time to the minute."""
    return utc_text(t_ns)[:16].replace("T", " ")


def count(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
