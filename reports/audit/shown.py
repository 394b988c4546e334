"""What a difference and a verification look like in a terminal, 100 columns wide, and as JSON. Pure."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, Final

from energy_agent.core.text import printable
from reports.audit.difference import FigureChange
from reports.audit.edition import Edition, StatedFigure
from reports.figures.facts import ChangedInput
from reports.figures.figure import plain

WIDTH: Final = 100
_ID: Final = 39
_NUMBER: Final = 15
_INPUTS: Final = 20


def change_lines(changes: Iterable[FigureChange]) -> list[str]:
    """A head, then each figure on a line; below it what else of it differs."""
    lines = [f"{'FIGURE':<{_ID}} {'OLD':>{_NUMBER}} {'NEW':>{_NUMBER}} {'CHANGE':>9}  {'UNIT':<8}INTERVALS"]
    for each in changes:
        overlap = {None: "-", True: "overlap", False: "apart"}[each.overlap]
        line = f"{_cut(each.id, _ID):<{_ID}} {_value(each.old):>{_NUMBER}} {_value(each.new):>{_NUMBER}} {moved(each):>9}"
        lines.append(f"{line}  {_cut(each.unit, 7):<8}{overlap}".rstrip())
        lines += [_cut(f"    {text}", WIDTH) for text in _details(each)]
    return lines


def _details(change: FigureChange) -> list[str]:
    texts = [f"reason: {change.reason}"] if change.reason else []
    if change.old is not None and change.new is not None:
        a, b = change.old.figure, change.new.figure
        pairs = {
            "unit": (a.unit, b.unit),
            "method": (a.method, b.method),
            "boundary": (a.boundary, b.boundary),
            "coverage": (plain(a.coverage), plain(b.coverage)),
            "factors": (",".join(a.factor_ids), ",".join(b.factor_ids)),
        }
        texts += [f"{name} {x or '-'} -> {y or '-'}" for name, (x, y) in pairs.items() if x != y]
    return texts


def input_lines(changes: Sequence[ChangedInput]) -> list[str]:
    """Inputs that differ, at most _INPUTS of them."""
    more = [f"  and {len(changes) - _INPUTS} more; --json has them all"] if len(changes) > _INPUTS else []
    return [_cut(f"  {each.text}", WIDTH) for each in changes[:_INPUTS]] + more or ["  none"]


def change_json(change: FigureChange) -> dict[str, Any]:
    """Everything of a change."""
    return {
        "id": change.id,
        "unit": change.unit,
        "old": _plain(change.old),
        "new": _plain(change.new),
        "absolute": None if change.absolute is None else str(change.absolute),
        "relative": None if change.relative is None else float(change.relative),
        "intervals_overlap": change.overlap,
        "reason": change.reason or None,
    }


def moved(change: FigureChange) -> str:
    """By which share a value moved, as a person reads it."""
    if change.absolute is None:
        return "-" if change.old is not None and change.new is not None else "new" if change.old is None else "gone"
    if change.relative is None:
        return "from 0" if change.absolute else "-"
    percent = 100 * change.relative
    if not percent:
        return "same"
    if abs(percent) < Fraction(1, 100):
        return "<+0.01 %" if percent > 0 else ">-0.01 %"
    return f"{float(percent):+.2f} %" if abs(percent) < 100_000 else f"{float(percent):+.0e} %"


def edition_text(edition: Edition) -> str:
    """Which it is, on a line; people count editions from 1."""
    return f"{edition.label or 'unnamed period'}, edition {edition.number + 1}, facts {edition.sha256[:16]}"


def _value(stated: StatedFigure | None) -> str:
    if stated is None:
        return "-"
    if stated.figure.value is None:
        return "absent"
    text = stated.figure.text
    whole, dot, places = text.partition(".")
    grouped = f"{int(whole):,}".replace(",", " ") if abs(int(whole)) >= 10_000 else whole
    text = grouped + dot + places
    return text if len(text) <= _NUMBER else f"{float(stated.figure.value):.8g}"


def _cut(text: str, width: int) -> str:
    """At most `width` characters, with what is left out in the middle; nothing in it reaches the terminal as a command."""
    text = printable(text)
    if len(text) <= width:
        return text
    tail = (width - 3) // 2
    return f"{text[: width - 3 - tail]}...{text[-tail:]}"


def _plain(stated: StatedFigure | None) -> dict[str, Any] | None:
    if stated is None:
        return None
    figure = stated.figure
    numbers = {name: getattr(figure, name) for name in ("value", "low", "high", "coverage")}
    return {name: None if number is None else plain(number) for name, number in numbers.items()} | {
        "method": figure.method, "boundary": figure.boundary, "reason": figure.reason, "factor_ids": list(figure.factor_ids),
    }  # fmt: skip
