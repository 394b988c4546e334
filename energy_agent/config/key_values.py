"""Describe the values of a configuration key for templates and documentation. Pure."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def values(field: FieldInfo) -> str:
    """What a key takes, in words."""
    limits: dict[str, float] = {}
    for each in field.metadata:
        limits |= {n: getattr(each, n) for n in ("gt", "ge", "le", "lt") if getattr(each, n, None) is not None}
    text = _type(field.annotation)
    low, above, high, below = (f"{limits[n]:.15g}" if n in limits else "" for n in ("ge", "gt", "le", "lt"))
    if low and high:
        return f"{text} {low} to {high}"
    bounds = (low and f"of at least {low}", above and f"above {above}", high and f"to {high}", below and f"below {below}")
    return f"{text} {', '.join(filter(None, bounds))}".rstrip()


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(i) for i in inner if i is not NoneType))
    if origin is tuple:
        return "list" if model_of(annotation) else f"list of {_type(inner[0])}s"
    if origin is dict:
        return "mapping"
    if origin is not None:  # Annotated
        return _type(inner[0])
    if model_of(annotation):
        return "section"
    if issubclass(annotation, StrEnum):
        return ", ".join(f"`{value.value}`" for value in annotation)
    numbers = {int: "whole number", float: "number", Decimal: "number"}
    return {**numbers, str: "text", bool: "`true`, `false`", Path: "path", date: "day"}[annotation]


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The section class in an annotation, also inside a list or an optional type; None for a plain value or a mapping."""
    if get_origin(annotation) is dict:
        return None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := model_of(inner)) is not None), None)
