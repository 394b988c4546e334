"""A commented configuration from the model itself, so that it cannot drift: every key with its meaning and default.

Prose is `# ...`; a key is `#key: default`, without the space: take the `#` away and it is in force. What has no default (the
members of a list, a section that is off without) is an example in prose.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from energy_agent.config.agent import Config
from energy_agent.config.key_values import model_of, values

WIDTH = 100
HEAD = (
    "Wattlens: configuration of the agent. Every key is here with its default, so what stays as it is may stay a comment. "
    "To set a key take away the # before it and before the names of the sections around it; lines that begin with a # and a "
    "space are words. Check the file with: wattlens config check FILE"
)


def template(found: Iterable[str] = ()) -> str:
    """The file. `found` are lines about the machine, for its head."""
    lines = [*_prose(HEAD, ""), *(f"# {line}" for line in found)]
    for name, field in Config.model_fields.items():
        section = model_of(field.annotation)
        assert section is not None, name
        lines += ["", *_prose((section.__doc__ or "").strip().split("\n\n")[0], "")]
        lines += _key(name, field, "") if _is_example(field) else [f"#{name}:", *_section(section, "  ")]
    return "\n".join(lines) + "\n"


def in_force(text: str) -> str:
    """The file with every key's `#` taken away."""
    return re.sub(r"^( *)#(?=[^ \n])", r"\1", text, flags=re.MULTILINE)


def _section(model: type[BaseModel], indent: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = model_of(field.annotation)
        if inner is None or _is_example(field):
            yield from _key(name, field, indent)
        else:
            yield from _prose(field.description or (inner.__doc__ or "").strip().split("\n\n")[0], indent)
            yield f"{indent}#{name}:"
            yield from _section(inner, indent + "  ")


def _is_example(field: FieldInfo) -> bool:
    """A list of sections, or a section that is off by default: nothing of it is in force."""
    return model_of(field.annotation) is not None and (get_origin(field.annotation) is tuple or field.default is None)


def _key(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    inner = model_of(field.annotation)
    text = f"{field.description or ''} ({values(field)})".strip() if inner is None else field.description or ""
    if text:
        yield from _prose(text, indent)
    if inner is not None:
        listed = get_origin(field.annotation) is tuple
        yield f"{indent}# for example:"
        yield f"{indent}#   {name}:"
        yield from _example(inner, f"{indent}#     ", listed)
    yield f"{indent}#{name}: {_yaml(field.get_default(call_default_factory=True))}"


def _example(model: type[BaseModel], prefix: str, listed: bool) -> Iterator[str]:
    lead = "- " if listed else ""
    for name, field in model.model_fields.items():
        what, inner = field.description or "", model_of(field.annotation)
        if inner is not None:
            off = "#" if field.default is None else ""  # an example of it would not fit to those of the keys around it
            yield f"{prefix}{lead}{off}{name}:  # {what}"
            yield from _example(inner, f"{prefix}{'  ' if listed else ''}{off}  ", listed=False)
            continue
        default = "..." if field.is_required() else _yaml(field.get_default(call_default_factory=True))
        yield f"{prefix}{lead}{name}: {default}" + (f"  # {what} ({'required' if field.is_required() else values(field)})")
        lead = "  " if listed else ""


def _yaml(value: Any) -> str:
    """A default as YAML on one line; JSON is YAML."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, str | Path):
        plain = str(value)
        return (
            plain if plain and all(c.isalnum() or c in "/_-." for c in plain) and not plain[0].isdigit() else json.dumps(plain)
        )
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _prose(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), WIDTH - len(indent) - 2):
        yield f"{indent}# {line}"
