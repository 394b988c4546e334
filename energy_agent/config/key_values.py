"""Types and limits of a configuration key: for validation, messages, templates and documentation. Pure."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a number."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    multiple_of: float | None = None

    @classmethod
    def of(cls, metadata: Iterable[Any]) -> "Limits":
        """Those of a field's metadata."""
        limits: dict[str, float] = {}
        for each in metadata:
            limits |= {name: value for name in cls.__slots__ if isinstance(value := getattr(each, name, None), int | float)}
        return cls(**limits)

    def per(self, unit: float) -> "Limits":
        """The same in another unit."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return Limits(**{name: value / unit for name, value in values.items() if value is not None})

    def texts(self, most: str) -> list[str]:
        """`0 to 60`, or each limit in words; `most` is those of an upper limit."""
        if self.ge is not None and self.le is not None:
            return [f"{self.ge:.15g} to {self.le:.15g}"]
        limits = (("of at least", self.ge), ("above", self.gt), (most, self.le), ("below", self.lt))
        return [f"{words} {limit:.15g}" for words, limit in limits if limit is not None]

    @property
    def words(self) -> str:
        """` from 0 to 60`; "" without limits."""
        texts = self.texts("at most")
        lead = " from " if self.ge is not None and self.le is not None else " "
        text = lead + " and ".join(texts) if texts else ""
        if self.multiple_of is not None and not math.isclose(self.multiple_of, 1):
            text += f" that is a multiple of {self.multiple_of:.10g}"
        return text


def values(field: FieldInfo) -> str:
    """What a key takes, in words."""
    return f"{_types(field.annotation)} {', '.join(Limits.of(field.metadata).texts('to'))}".rstrip()


def _types(annotation: Any) -> str:
    return " or ".join(dict.fromkeys(_type(leaf) for leaf, _ in leaves(annotation) if leaf is not NoneType))


def _type(leaf: Any) -> str:
    origin, inner = get_origin(leaf), get_args(leaf)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return "list" if model_of(leaf) else f"list of {_types(inner[0])}s"
    if origin is dict:
        return "mapping"
    if model_of(leaf):
        return "section"
    if issubclass(leaf, StrEnum):
        return ", ".join(f"`{value.value}`" for value in leaf)
    numbers = {int: "whole number", float: "number", Decimal: "number"}
    return {**numbers, str: "text", bool: "`true`, `false`", Path: "path", date: "day"}[leaf]


def leaves(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[tuple[Any, list[Any]]]:
    """The alternatives of an annotation without Annotated, each with its metadata."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        flat = [m for each in more for m in (each.metadata if isinstance(each, FieldInfo) else [each])]
        yield from leaves(inner, [*metadata, *flat])
    elif get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from leaves(each, metadata)
    else:
        yield annotation, [*metadata]


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The section class in an annotation, also inside a list or an optional type; None for a plain value or a mapping."""
    if get_origin(annotation) is dict:
        return None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := model_of(inner)) is not None), None)
