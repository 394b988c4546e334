"""Build one instant query for values and the times of their samples, and parse its response. Pure.

Source: Prometheus documentation, querying (basics, operators, functions) and HTTP API.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from energy_agent.core.meters.reading import MeterError
from energy_agent.site.meters._decimal_text import decimal_of

_PART: Final = "wattlens_part"  # label that distinguishes the parts of the answer
_STRING: Final = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`"""
_MATCHER: Final = rf"\s*(?:[a-zA-Z_]\w*\s*(?:=~|!~|!=|=)\s*(?:{_STRING})|{_STRING})\s*"
_SELECTOR: Final = re.compile(
    rf"\s*(?:[a-zA-Z_:][\w:]*\s*(?:\{{\s*(?:{_MATCHER}(?:,{_MATCHER})*,?\s*)?\}})?|\{{{_MATCHER}(?:,{_MATCHER})*,?\s*\}})\s*",
    re.ASCII,
)
_TEXT: Final = re.compile(rf"{_STRING}|\#[^\n]*")
_RANGES: Final = re.compile(r"\[([^\[\]:]*)(?::[^\[\]]*)?\]|\boffset\s+[-+]?\s*([\w.]+)", re.ASCII)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)", re.ASCII)
_UNIT_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_ONLY_A_HINT: Final = "PromQL info"  # such as that a counter's name does not end in _total
_SHOWN: Final = 3
_LABELS_SHOWN: Final = 160


@dataclass(frozen=True, slots=True)
class Sampled:
    """A value and the times of its samples, in s since 1970 by the clock of their scraper."""

    value: Decimal
    oldest_s: Decimal
    newest_s: Decimal
    evaluated_s: Decimal


def is_selector(query: str) -> bool:
    """Whether a query is a plain selector: a name, labels, or both."""
    return _SELECTOR.fullmatch(query) is not None


def looks_back_s(query: str) -> float:
    """How far a query looks back beyond its samples: all its ranges and offsets together, which is the maximum that it can be.

    Raises:
        ValueError: it is bound to an instant by @, or has a range that is no duration.
    """
    code = _TEXT.sub(" ", query)
    if "@" in code:
        raise ValueError("a query with @ always returns the same value; remove @")
    return sum(_seconds((ranged or offset).strip()) for ranged, offset in _RANGES.findall(code))


def _seconds(text: str) -> float:
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return float(sum(float(number) * _UNIT_S[unit] for number, unit in parts))
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a duration such as 5m, got {text[:40]!r}") from None


def build_query(queries: Mapping[str, str], selectors: Mapping[str, str]) -> str:
    """The one query for every value, how many there are, and when the samples in `selectors` are from.

    One evaluation: the times are those of the very samples that make the value.
    """
    parts = []
    for name, query in queries.items():
        selector = f"timestamp({selectors[name]})"
        parts += [
            _named(f"topk({_SHOWN}, ({query}\n))", name),
            _named(f"count(({query}\n))", f"{name}_count"),
            *(_named(f"{each}({selector})", f"{name}_{each}_time") for each in ("min", "max", "count")),
        ]
    return " or ".join(parts)


def _named(query: str, part: str) -> str:
    return f'label_replace({query}, "{_PART}", "{part}", "", "")'


def parse_values(
    answer: tuple[int, bytes], selectors: Mapping[str, str], series: Mapping[str, int], max_age_s: float
) -> dict[str, Sampled]:
    """The values of an answer, by requested quantity.

    Args:
        answer: its HTTP status and body.
        selectors: those whose sample times were requested, by quantity.
        series: how many series each of those must select.
        max_age_s: older samples are rejected.

    Raises:
        MeterError: it is not a valid answer, has no or several series, or a sample that is too old.
    """
    rows = _rows(*answer)
    return {name: _sampled(name, rows, selectors[name], series[name], max_age_s) for name in selectors}


Row = tuple[Mapping[str, str], Decimal, str | None]
"""Labels, time of the evaluation, value; None where it is a histogram."""


def _sampled(name: str, rows: Mapping[str, list[Row]], selector: str, series: int, max_age_s: float) -> Sampled:
    values = rows.get(name, [])
    count = _count(rows, f"{name}_count")
    if count == 0:
        raise MeterError(f"{name}_query returned no series: its target is down, or the name or the labels are wrong")
    if count > 1:
        examples = ", ".join(_format_series(labels) for labels, _, _ in values[:_SHOWN])
        raise MeterError(f"{name}_query: expected 1 series, got {count}: select one by its labels, or sum them; {examples}")
    if len(values) != 1 or values[0][2] is None:
        raise MeterError(f"{name}_query: expected a number (got a histogram?)")
    sampled = _count(rows, f"{name}_count_time")
    if sampled != series:
        raise MeterError(
            f"samples: expected {series} series as set in `series`, got {sampled}: {selector[:80]}; "
            + (
                "a target is down, or `series` is too large"
                if sampled < series
                else "add labels to the selector, or set `series`"
            )
        )
    oldest, newest = _only(rows, f"{name}_min_time"), _only(rows, f"{name}_max_time")
    if oldest is None or newest is None or not (oldest.is_finite() and newest.is_finite()):
        raise MeterError(f"{name}_query: the age of its samples is unknown")
    labels, evaluated_s, value = values[0]
    age_s = evaluated_s - oldest
    if age_s > Decimal(max_age_s):
        raise MeterError(
            f"{name}_query: its sample is {age_s:.0f} s old, but max_age_s is {max_age_s:g}: {_format_series(labels)}"
        )
    return Sampled(decimal_of(value), oldest, newest, evaluated_s)


def _only(rows: Mapping[str, list[Row]], part: str) -> Decimal | None:
    each = rows.get(part, [])
    return decimal_of(each[0][2]) if len(each) == 1 and each[0][2] is not None else None


def _count(rows: Mapping[str, list[Row]], part: str) -> int:
    count = _only(rows, part)
    return int(count) if count is not None and count.is_finite() else 0


def _rows(status: int, body: bytes) -> dict[str, list[Row]]:
    """The answer's vector, by part."""
    if status in (401, 403):
        raise MeterError(f"it rejects the token, or the user name or the password (status {status})")
    try:
        reply: Any = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        reply = None
    if not isinstance(reply, dict) or reply.get("status") != "success":
        error_text = reply.get("error") if isinstance(reply, dict) else None
        reason = f": {_line(error_text)}" if isinstance(error_text, str) else ", and the response is not from Prometheus"
        raise MeterError(f"it responds with status {status}{reason}")
    listed = reply.get("warnings")
    warnings = [str(w) for w in listed if not str(w).startswith(_ONLY_A_HINT)] if isinstance(listed, list) else []
    if warnings:
        raise MeterError(f"it responds with a warning, so the result may be incomplete: {_line(warnings[0])}")
    data = reply.get("data")
    vector = data.get("result") if isinstance(data, dict) and data.get("resultType") == "vector" else None
    if not isinstance(vector, list):
        raise MeterError("expected a vector in the response")
    rows: dict[str, list[Row]] = {}
    for each in vector:
        labels, (at_s, value) = _row(each)
        rows.setdefault(labels.get(_PART, ""), []).append((labels, at_s, value))
    return rows


def _row(each: Any) -> tuple[Mapping[str, str], tuple[Decimal, str | None]]:
    labels = each.get("metric") if isinstance(each, dict) else None
    pair = each.get("value", each.get("histogram")) if isinstance(each, dict) else None
    if not isinstance(labels, dict) or not isinstance(pair, list) or len(pair) != 2:
        raise MeterError("expected a vector in the response")
    at_s, value = pair
    if not isinstance(at_s, Decimal) or not at_s.is_finite() or not 0 <= at_s < Decimal(10) ** 12:
        raise MeterError("expected a time in the response")
    return {str(k): str(v) for k, v in labels.items()}, (at_s, value if isinstance(value, str) else None)


def _format_series(labels: Mapping[str, str]) -> str:
    pairs: Iterable[tuple[str, str]] = ((k, v) for k, v in sorted(labels.items()) if k not in (_PART, "__name__"))
    text = "{" + ", ".join(f'{k}="{v}"' for k, v in pairs)
    return _line(labels.get("__name__", "") + (text if len(text) < _LABELS_SHOWN else text[:_LABELS_SHOWN] + "...") + "}")


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:300])
