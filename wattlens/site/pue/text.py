"""The statement of `wattlens pue` for a person: lines of text. Pure."""

from collections.abc import Iterator
from datetime import datetime, tzinfo
from fractions import Fraction

from energy_agent.core.quantity import Quantity
from energy_agent.site.building.pue import EnergyFlow, Pue
from wattlens.site.pue.statement import UJ_PER_KWH, PueStatement, gaps

_WHERE = {1: "at the output of the UPS", 2: "at the output of the PDUs", 3: "at the input of the IT equipment"}
_GAPS_SHOWN = 20
_UNITS = {"WUE": "L/kWh of IT", "CUE": "g CO2e/kWh of IT", "CUE (direct)": "g CO2/kWh of IT"}


def format_statement(statement: PueStatement, zone: tzinfo) -> Iterator[str]:
    """Yield the lines, with instants in `zone`."""
    start_ns, end_ns = statement.start_ns, statement.end_ns
    span = f"{instant(start_ns, zone)} to {instant(end_ns, zone)} ({zone}, {_length(end_ns - start_ns)})"
    yield f"site {statement.site}{', ' + statement.zone if statement.zone else ''}: {span}" + (
        ", SIMULATED" if statement.simulated else ""
    )
    yield ""
    yield from _pue(statement.main)
    for other in (p for p in statement.pues if p is not statement.main):
        yield f"{other.kind} category {other.category}: {_amount(other.amount)}"
    if statement.parts and statement.main.total_uj:
        yield ""
        yield from _table(statement)
    if statement.others:
        yield ""
        for name, amount in statement.others.items():
            unit = f" {_UNITS[name]}" if name in _UNITS and amount.value is not None else ""
            yield f"{name} {_amount(amount)}{unit}" + (f"; {statement.notes[name]}" if name in statement.notes else "")
    if "cost" in statement.notes:
        yield f"cost {statement.notes['cost']}"
    all_gaps = gaps(statement.meters)
    if all_gaps:
        yield ""
        how = "imputed from meters below, else from the mean of the same meter, bounded by its maximum power"
        yield f"gaps in meter readings ({len(all_gaps)}): {how}"
        for name, gap in all_gaps[:_GAPS_SHOWN]:
            hours = (gap.end_ns - gap.start_ns) / 3.6e12
            at_most = f"at most {_kwh(Fraction(gap.bound_uj, UJ_PER_KWH))} kWh" if gap.bound_uj else "not bounded"
            yield f"  {name}  {instant(gap.start_ns, zone)}  {hours:.2f} h  {at_most}  {gap.reason}"
        if len(all_gaps) > _GAPS_SHOWN:
            yield f"  and {len(all_gaps) - _GAPS_SHOWN} more (--json lists all)"


def instant(t_ns: int, zone: tzinfo) -> str:
    """An instant to the minute in a time zone."""
    return datetime.fromtimestamp(t_ns // 10**9, zone).strftime("%Y-%m-%d %H:%M")


def _pue(pue: Pue) -> Iterator[str]:
    if pue.amount.value is None:
        yield f"no {pue.kind}: {pue.amount.reason}"
        return
    if not pue.category:
        yield f"PUE {_amount(pue.amount)}: an estimate from IT energy and a stated PUE, without building meters"
        it_kwh = Fraction(pue.it_uj, UJ_PER_KWH)
        it, low, high = (_kwh(it_kwh * (value or 0)) for value in (Fraction(1), pue.amount.low, pue.amount.high))
        imputed = f", {_kwh(Fraction(pue.imputed_uj, UJ_PER_KWH))} kWh of it imputed" if pue.imputed_uj else ""
        yield f"IT {it} kWh{imputed}; site {low} to {high} kWh by the stated bounds"
        return
    basis = "an estimate, because part of it is stated, not metered" if pue.stated else "measured"
    yield f"{pue.kind} {_amount(pue.amount)}: {basis}, category {pue.category}, IT metered {_WHERE[pue.category]}"
    imputed = f", {_kwh(Fraction(pue.imputed_uj, UJ_PER_KWH))} kWh imputed" if pue.imputed_uj else ""
    yield f"coverage {float(pue.coverage):.1%} of the time by its least covered meter{imputed}"


def _table(statement: PueStatement) -> Iterator[str]:
    total = Fraction(statement.main.total_uj, UJ_PER_KWH)
    rows = [("WHERE IT GOES", "KWH", "LOW", "HIGH", "OF TOTAL")]
    rows += [row for part in statement.parts if (row := _row(part, total))]
    if statement.main.total_uj:
        rows.append(("total", _kwh(total), "", "", "100.0 %"))
    rows += [row for part in statement.losses if (row := _row(part, total))]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for name, *numbers in rows:
        yield "  ".join([name.ljust(widths[0]), *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))]).rstrip()
    for part in (*statement.parts, *statement.losses):
        if part.amount.value is None:
            yield f"{part.name} absent: {part.amount.reason}"


def _row(part: EnergyFlow, total: Fraction) -> tuple[str, str, str, str, str] | None:
    amount = part.amount
    if amount.value is None:
        return None
    kwh, low, high = (None if v is None else v / UJ_PER_KWH for v in (amount.value, amount.low, amount.high))
    assert kwh is not None
    share = f"{float(kwh / total):.1%}".replace("%", " %") if total else ""
    return part.name, _kwh(kwh), "?" if low is None else _kwh(low), "?" if high is None else _kwh(high), share


def _amount(amount: Quantity) -> str:
    if amount.value is None:
        return f"absent: {amount.reason}"
    if amount.low is None and amount.high is None:
        return f"{float(amount.value):.3f} (error unknown)"
    low, high = ("not bounded" if bound is None else f"{float(bound):.3f}" for bound in (amount.low, amount.high))
    return f"{float(amount.value):.3f} ({low} to {high})"


def _kwh(value: Fraction) -> str:
    number = float(value)
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.1f}" if abs(number) >= 1 else f"{number:.4f}"


def _length(ns: int) -> str:
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if ns >= 2 * unit * 10**9:
            return f"{ns / unit / 1e9:.1f}".removesuffix(".0") + f" {name}"
    return f"{ns / 1e9:.0f} s"
