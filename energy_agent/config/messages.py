"""What is wrong with a configuration, in one line of words for the person who wrote it. Pure.

Pydantic's own messages name patterns and classes; here they are put as what is wanted.
"""

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from energy_agent.config.key_values import model_of

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
GROUP = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,252}$"
PORT = r"(0|[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
LISTEN = rf"^\S+:{PORT}$"
HTTP = r"^http://"
SERVICE = r"^https?://[^\s/@]+$"
HOST = r"^[A-Za-z0-9.:_-]{1,253}$"
# Whoever uses METRIC or JOB_WORD bounds the length: a bound on any of a hundred thousand letters takes 12 ms to compile.
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

PATTERNS = {
    NAME: "a name of at most 63 letters, digits, '.', '_' and '-' that begins with a letter or digit",
    GROUP: "a name of letters, digits, '.', '_', '-' and '/' that begins with a letter or digit",
    LISTEN: "ADDRESS:PORT, such as 127.0.0.1:9479 or 0.0.0.0:9479, with a port of at most 65535",
    HTTP: "an address that begins with http://",
    SERVICE: "http://HOST or https://HOST, with a port where it is not the usual one, and no path, user or password",
    HOST: "a host name or an address",
    LABEL_KEY: "the key of a label or annotation, such as team or example.com/team",
    RESOURCE: "an extended resource with its domain, such as example.com/gpu",
    JOB_WORD: "account, user, partition, qos, wckey, job_name, comment.KEY or job_name.KEY",
    OWNER_KIND: "a kind with its group and version, such as ModelTrainingJob.ai.example/v1",
    PATTERN_OF_NAMES: "a name, or one with * for any letters, such as team-*,",
    POLICIES: "the name of a policy, or several joined by +, such as progress+phase",
    SPAN: "DAYS HH:MM-HH:MM, such as Mon-Fri 08:00-18:00, or HH:MM-HH:MM for every day",
    METRIC: 'the name of a metric, such as my_total or my_total{kind="out"},',
    MEMBER: "an Id of at most 128 characters without spaces, '/', '?' and '#'",
}
"""Every pattern of the model in words; a test holds that none is missing."""

LONGEST_CHOICE = 40
_WANTED = {
    "string_type": "text is wanted; put it in quotes",
    "int_type": "a whole number is wanted",
    "int_parsing": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "int_parsing_size": "a whole number of a sane size is wanted",
    "float_type": "a number is wanted",
    "float_parsing": "a number is wanted",
    "finite_number": "a number that is neither infinite nor .nan is wanted",
    "bool_type": "true or false is wanted",
    "bool_parsing": "true or false is wanted",
    "path_type": "the path of a file or folder is wanted, as text",
    "tuple_type": "a list is wanted",
    "list_type": "a list is wanted",
    "dict_type": "a mapping of keys to values is wanted",
    "model_type": "a section with keys of its own is wanted",
    "model_attributes_type": "a section with keys of its own is wanted",
}
_LIMITS = (
    ("greater_than_equal", "ge", "at least"),
    ("greater_than", "gt", "more than"),
    ("less_than_equal", "le", "at most"),
    ("less_than", "lt", "less than"),
    ("multiple_of", "multiple_of", "a multiple of"),
)


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault in one line, and how many more there are."""
    faults = error.errors(include_url=False, include_input=True)
    return explain_fault(faults[0], model) + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def explain_fault(fault: Any, model: type[BaseModel]) -> str:
    """One fault of pydantic's in one line."""
    location = tuple(part for part in fault["loc"] if part != "[key]")
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        return _unknown(model, location, key)
    if fault["type"] == "missing":
        return f"key {key!r} is missing"
    if fault["type"] == "value_error":  # a check of ours: the message says it all, and secrets stay out of it
        return f"key {key!r}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"])
    # What stands in a wrong place may be a secret; a misspelt choice is none, and short.
    chosen = fault["type"] == "literal_error" and len(str(fault["input"])) <= LONGEST_CHOICE
    hidden = bool(model.model_config.get("hide_input_in_errors")) and not chosen
    return f"key {key!r}: {_wanted(fault)}, got {_shown(fault['input'], hidden)}"


def _unknown(model: type[BaseModel], location: tuple[int | str, ...], key: str) -> str:
    known = _keys_beside(model, location)
    near = difflib.get_close_matches(str(location[-1]), known, 1, 0.4)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}")


def _wanted(fault: Any) -> str:
    """What a fault of pydantic's asks for."""
    kind, limits = fault["type"], fault.get("ctx", {})
    if kind in _WANTED:
        return _WANTED[kind]
    if kind == "string_pattern_mismatch":
        return f"{PATTERNS.get(limits['pattern'], 'another form')} is wanted"
    for type_, limit, words in _LIMITS:
        if kind == type_:
            return f"{words} {limits[limit]:.10g} is wanted"
    if kind in ("literal_error", "enum"):
        return f"one of {limits['expected']} is wanted"
    if kind == "too_short":
        return f"a list of at least {limits['min_length']} is wanted"
    message: str = fault["msg"]
    return f"{message[0].lower()}{message[1:]}"


def _shown(value: object, hidden: bool) -> str:
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


def _keys_beside(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    model: Any = root
    for part in location[:-1]:
        if isinstance(part, str) and part in getattr(model, "model_fields", {}):
            model = model_of(model.model_fields[part].annotation) or model
    return sorted(getattr(model, "model_fields", {}))
