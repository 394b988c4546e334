"""The tables of configuration keys in docs/configuration.md, generated from the models."""

from collections.abc import Iterator
from typing import get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from energy_agent.config.agent import Config
from energy_agent.config.key_values import model_of, values
from tools.markdown import row
from wattlens.agent.reload import restart_keys
from wattlens.site.file import file_model

_HEAD = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"


def agent_tables() -> str:
    """The keys that need a restart, and a table for each section of the agent's configuration, in the order of the model."""
    keys = ", ".join(f"`{key}`" for key in restart_keys())
    return f"\nA changed file takes effect within seconds. These keys need a restart: {keys}.\n{_sections(Config, {})}"


def site_tables() -> str:
    """The same for the site process. A key that the agent has in the same section, with the same meaning, is not repeated."""
    return _sections(file_model(), {name: set(_rows(field)) for name, field in Config.model_fields.items()})


def _sections(model: type[BaseModel], known_rows: dict[str, set[str]]) -> str:
    parts = []
    for name, field in model.model_fields.items():
        section = model_of(field.annotation)
        assert section is not None, name
        rows = list(_rows(field))
        fresh = [row for row in rows if row not in known_rows.get(name, ())]
        listed = " (a list of these)" if get_origin(field.annotation) is tuple else ""
        link = f" Other keys: as in the [agent's `{name}`](#{name})." if len(fresh) < len(rows) else ""
        table = f"\n{_HEAD}{''.join(fresh)}" if fresh else ""
        parts.append(f"\n### `{name}`{listed}\n\n{section.__doc__}{link}\n{table}")
    return "".join(parts) + "\n"


def _rows(field: FieldInfo) -> Iterator[str]:
    """Rows of a section. Keys of sibling subsections with the same name, values, default and meaning share one row."""
    section = model_of(field.annotation)
    assert section is not None
    shared: dict[tuple[str, ...], list[str]] = {}
    for key, each in _keys(section, ""):
        parent, _, leaf = key.rpartition(".")
        shared.setdefault((parent.rpartition(".")[0] if parent else key, leaf, *_cells(each)), []).append(key)
    for (_, _, *cells), keys in shared.items():
        yield row(", ".join(f"`{key}`" for key in keys), *cells)


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = model_of(field.annotation)
        if inner is None:
            yield prefix + name, field
            continue
        listed = get_origin(field.annotation) is tuple
        if field.description or listed:
            yield prefix + name, field
        yield from _keys(inner, f"{prefix}{name}{'[]' if listed else ''}.")


def _cells(field: FieldInfo) -> tuple[str, str, str]:
    return values(field), _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default if field.default is not PydanticUndefined else None
    if value is None or value == () or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
