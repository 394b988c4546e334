"""The tables of configuration keys in docs/agent.md and docs/site.md, from the models themselves; `make docs` writes them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from energy_agent.config.agent import Config
from energy_agent.config.key_values import model_of, values
from energy_agent.site.config.site import site_model
from tools import marked_page

BEGIN, END = "<!-- keys: begin, written by make docs -->\n", "<!-- keys: end -->\n"
_HEAD = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n"


def replaced(page: str, model: type[BaseModel] = Config) -> str:
    """The page with fresh tables between its two markers; raises as `marked_page.replaced` does."""
    return marked_page.replaced(page, BEGIN, END, tables(model))


def tables(model: type[BaseModel] = Config) -> str:
    """A heading and a table for each section, in the order of the model."""
    parts = []
    for name, field in model.model_fields.items():
        section = model_of(field.annotation)
        assert section is not None, name
        rows = "".join(_row(key, each) for key, each in _keys(section, ""))
        listed = " (a list of these)" if get_origin(field.annotation) is tuple else ""
        parts.append(f"\n### `{name}`{listed}\n\n{section.__doc__}\n\n{_HEAD}{rows}")
    return "".join(parts) + "\n"


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


def _row(key: str, field: FieldInfo) -> str:
    cells = (f"`{key}`", values(field), _default(field), field.description or "")
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default if field.default is not PydanticUndefined else None
    if value is None or value == () or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def main() -> int:
    """Write the tables anew into the page that is named."""
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text(), site_model() if path.name == "site.md" else Config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
