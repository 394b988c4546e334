"""Messages about wrong values of a configuration: key, expected and actual value. Pure.

Pydantic's own messages name patterns and classes, which the author of a configuration does not know.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from energy_agent.config.key_values import model_of
from energy_agent.core.text import quoted_address

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
GROUP = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,252}$"
PORT = r"(0|[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
LISTEN = rf"^\S+:{PORT}$"
HTTP_OR_HTTPS = r"^https?://[^\s@]+$"
SERVICE = r"^https?://[^\s/@]+$"
HOST = r"^[A-Za-z0-9.:_-]{1,253}$"
# Fields that use METRIC or JOB_WORD limit the length: a limit in the pattern, on a class of 100,000 letters, compiles in 12 ms.
METRIC = r'^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}(\{([a-zA-Z_][a-zA-Z0-9_]{0,63}="[^"\\]*",?){1,8}\})?$'
MEMBER = r"^[^\s/?#]{1,128}$"
LABEL_KEY = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
RESOURCE = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
JOB_WORD = r"^(account|user|partition|qos|wckey|job_name|(comment|job_name)\.[A-Za-z_][\w.-]*)$"
OWNER_KIND = r"^[A-Z][A-Za-z0-9]{0,62}\.[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/v[a-z0-9]{1,30}$"
PATTERN_OF_NAMES = r"^[A-Za-z0-9*?][A-Za-z0-9._/*?-]{0,252}$"
POLICIES = r"^[a-z_]+(\+[a-z_]+)*$"
_DAY = r"(?:[Mm]on|[Tt]ue|[Ww]ed|[Tt]hu|[Ff]ri|[Ss]at|[Ss]un)"
SPAN = rf"^({_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)* )?([01]\d|2[0-4]):[0-5]\d-([01]\d|2[0-4]):[0-5]\d$"
PERIOD = r"^((FY)?(19|20)\d\d(-?Q[1-4])?|(19|20)\d\d-(0[1-9]|1[0-2]))$"
CLOUD_REGION = r"^[a-z0-9]{1,20}/[a-z0-9-]{1,60}$"

PATTERNS = {
    PERIOD: "a month, quarter or year such as 2025-07, 2025Q3, 2025, FY2025 or FY2025Q3",
    CLOUD_REGION: "PROVIDER/REGION, such as gcp/europe-west3",
    NAME: "a name of at most 63 letters, digits, '.', '_' and '-' that begins with a letter or digit",
    GROUP: "a name of letters, digits, '.', '_', '-' and '/' that begins with a letter or digit",
    LISTEN: "ADDRESS:PORT, such as 127.0.0.1:9479 or 0.0.0.0:9479, with a port of at most 65535",
    HTTP_OR_HTTPS: "a URL that begins with http:// or https://, without user and password",
    SERVICE: "http://HOST or https://HOST, with a port if it is not the default, without path, user and password",
    HOST: "a host name or an address",
    LABEL_KEY: "the key of a label or annotation, such as team or example.com/team",
    RESOURCE: "an extended resource with its domain, such as example.com/gpu",
    JOB_WORD: "account, user, partition, qos, wckey, job_name, comment.KEY or job_name.KEY",
    OWNER_KIND: "a kind with its group and version, such as ModelTrainingJob.ai.example/v1",
    PATTERN_OF_NAMES: "a name, with * for any characters, such as team-*",
    POLICIES: "the name of a policy, or several joined by +, such as progress+phase",
    SPAN: "DAYS HH:MM-HH:MM, such as Mon-Fri 08:00-18:00, or HH:MM-HH:MM for every day",
    METRIC: 'the name of a metric, such as my_total or my_total{kind="out"}',
    MEMBER: "an Id of at most 128 characters without spaces, '/', '?' and '#'",
}
"""Every pattern of the models in words."""

LONGEST_CHOICE = 40
LINES_MAX = 100
"""Faults of one file that are listed: more than that have one cause, such as a wrong column."""
_EXPECTED = {
    "string_type": "text",
    "invalid_key": "text as a key",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "path_type": "the path of a file or folder, as text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a section with its own keys",
    "model_attributes_type": "a section with its own keys",
}
_WHOLE = ("int_type", "int_parsing", "int_from_float", "int_parsing_size")
_NUMBERS = ("float_type", "float_parsing", "finite_number")
_LIMITS = {"greater_than_equal": "ge", "greater_than": "gt", "less_than_equal": "le", "less_than": "lt"}
_SIZES = {
    "too_short": ("a list of at least", "min_length", "entries"),
    "too_long": ("a list of at most", "max_length", "entries"),
    "string_too_short": ("at least", "min_length", "characters"),
    "string_too_long": ("at most", "max_length", "characters"),
}


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Every fault, one line each."""
    return shorten(list(dict.fromkeys(explain_fault(fault, model) for fault in faults_of(error))))


def faults_of(error: ValidationError) -> list[Any]:
    """Every fault, but not that a list is too short because its entries are wrong."""
    faults = error.errors(include_url=False, include_input=True)
    parents = {fault["loc"][:n] for fault in faults for n in range(len(fault["loc"]))}
    return [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in parents]


def shorten(lines: Sequence[str]) -> list[str]:
    """The lines; at most LINES_MAX, then the number of those left out."""
    left_out = len(lines) - LINES_MAX
    return [*lines[:LINES_MAX], *([f"{left_out} more errors are not listed"] if left_out > 0 else [])]


def explain_fault(fault: Any, model: type[BaseModel], unit: float = 1.0) -> str:
    """One fault of pydantic's in one line.

    Args:
        fault: as `ValidationError.errors` returns it.
        model: what was validated.
        unit: how much of the key's unit is one of the unit in which the message states the limits.
    """
    location = tuple(part for part in fault["loc"] if part != "[key]")
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        return _explain_unknown(model, location, key)
    if fault["type"] == "missing":
        return f"key {key!r} is missing"
    if fault["type"] == "value_error":  # a check of ours: its message is complete, and has no secret in it
        return f"key {key!r}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"])
    # A value in the wrong place may be a secret. A misspelt choice is not, and it is short.
    chosen = fault["type"] == "literal_error" and len(str(fault["input"])) <= LONGEST_CHOICE
    hidden = bool(model.model_config.get("hide_input_in_errors")) and not chosen
    length = fault.get("ctx", {}).get("actual_length")
    if length is None and fault["type"] in _SIZES and isinstance(fault["input"], dict):
        length = len(fault["input"])  # pydantic leaves it out for mappings
    actual = _describe(fault["input"], hidden) if length is None else str(length)
    if fault.get("ctx", {}).get("pattern") in (HTTP_OR_HTTPS, SERVICE) and not hidden:
        actual = quoted_address(fault["input"])[:80]
    text = f"key {key!r}: expected {_expected(fault, model, location, unit)}, got {actual}"
    is_scalar = isinstance(fault["input"], str | int | float) or hasattr(fault["input"], "isoformat")
    return f"{text}; put it in quotes" if fault["type"] in ("string_type", "invalid_key") and is_scalar else text


def _explain_unknown(model: type[BaseModel], location: tuple[int | str, ...], key: str) -> str:
    known = _sibling_keys(model, location)
    near = difflib.get_close_matches(str(location[-1]), known, 1)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}")


def _expected(fault: Any, model: type[BaseModel], location: tuple[int | str, ...], unit: float) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], "another format")
    if kind in (*_WHOLE, *_NUMBERS, *_LIMITS, "multiple_of"):
        types = list(_at(model, location))
        limits = Limits.of(m for _, metadata in types for m in metadata)
        if kind in _LIMITS and limits == Limits():  # a key that the model does not name, such as one of a tagged union
            limits = Limits(**{_LIMITS[kind]: float(context[_LIMITS[kind]])})
        whole = kind in _WHOLE or any(leaf is int for leaf, _ in types)
        return f"{'a whole number' if whole else 'a number'}{limits.per(unit).words}"
    if kind in ("literal_error", "enum"):
        return f"one of {context['expected']}"
    if kind in _SIZES:
        lead, limit, what = _SIZES[kind]
        lead = lead.replace("list", "mapping") if isinstance(fault["input"], dict) else lead
        count = context[limit]
        return f"{lead} {count} {what if count != 1 else {'entries': 'entry', 'characters': 'character'}[what]}"
    message: str = fault["msg"]
    return f"another value ({message[0].lower()}{message[1:]})"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a number, in words."""

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

    @property
    def words(self) -> str:
        """` from 0 to 60`; "" without limits."""
        low, high = self.gt if self.ge is None else self.ge, self.lt if self.le is None else self.le
        if self.ge is not None and self.le is not None:
            text = f" from {self.ge:.10g} to {self.le:.10g}"
        else:
            parts = [f"{'above' if self.ge is None else 'of at least'} {low:.10g}"] if low is not None else []
            parts += [f"{'below' if self.le is None else 'at most'} {high:.10g}"] if high is not None else []
            text = " " + " and ".join(parts) if parts else ""
        if self.multiple_of is not None and not math.isclose(self.multiple_of, 1):
            text += f" that is a multiple of {self.multiple_of:.10g}"
        return text


def _at(model: type[BaseModel], location: tuple[int | str, ...]) -> Iterator[tuple[Any, list[Any]]]:
    """Types that a key may have, each with the metadata of its annotation."""
    types: list[tuple[Any, list[Any]]] = [(model, [])]
    for part in location:
        types = [leaf for each, _ in types for inner, metadata in _inside(each, part) for leaf in _leaves(inner, metadata)]
    yield from types


def _inside(type_: Any, part: int | str) -> Iterator[tuple[Any, list[Any]]]:
    """The annotation of a key or member of a type."""
    if part in getattr(type_, "model_fields", {}):
        field = type_.model_fields[part]
        yield field.annotation, field.metadata
    elif get_origin(type_) in (tuple, list, dict):
        yield get_args(type_)[1 if get_origin(type_) is dict else 0], []


def _leaves(annotation: Any, metadata: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """An annotation without Annotated and alternatives."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        flat = [m for each in more for m in (each.metadata if isinstance(each, FieldInfo) else [each])]
        yield from _leaves(inner, [*metadata, *flat])
    elif get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _leaves(each, metadata)
    else:
        yield annotation, metadata


def _describe(value: object, hidden: bool) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 256:
        return "a huge number"
    if isinstance(value, str | int | float):
        return repr(value)[:80] if not hidden else "text" if isinstance(value, str) else "a number"
    kinds: dict[str, tuple[type, ...]] = {"a mapping": (dict,), "a list": (list, tuple), "bytes": (bytes,)}
    return next((words for words, kind in kinds.items() if isinstance(value, kind)), "something else")


def _sibling_keys(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    model: Any = root
    for part in location[:-1]:
        if isinstance(part, str) and part in getattr(model, "model_fields", {}):
            model = model_of(model.model_fields[part].annotation) or model
    return sorted(getattr(model, "model_fields", {}))
