"""Configuration files of the agent for `wattlens init`: a short one to start with, and one with every option.

The long one is made from the model, so that it cannot drift. Lines of it that begin with `# ` are YAML: without these two
characters an option is set. Lines that begin with `## ` explain.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from energy_agent.config.agent import Config
from energy_agent.config.key_values import model_of, values

WIDTH = 100
HEAD = (
    "Wattlens agent configuration: every option with its default. Lines that begin with one # and a space are YAML: to set an "
    "option, remove these two characters from it and from the sections above it. Lines with ## explain. "
    "Check the file with: wattlens config check FILE"
)
EXAMPLES: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "sources.node.redfish": (
        {"url": "https://bmc.example", "user_file": "/etc/wattlens/bmc-user", "password_file": "/etc/wattlens/bmc-password"},
    ),
    "sources.node.ipmi": ({},),
    "sources.node.psu": ({},),
    "tokens": (
        {"workload": "chat", "url": "http://127.0.0.1:8000/metrics", "mapping": None},
        {"workload": "search", "url": "http://127.0.0.1:9000/metrics", "server": "mapping"},
    ),
    "tokens.mapping": ({"generation": "my_generated_tokens_total"},),
    "dvfs.slo": ({"ttft_ms": 500, "itl_ms": 50, "attainment": 0.99},),
    "dvfs.groups": ({"name": "training", "devices": ["0", "1"], "workload": "train-llama", "slo": None},),
    "dvfs.blocks": ({},),
}
"""Sections that are off by default -> values of their required keys, for each example; None leaves a section out."""
STARTER = """\
# Wattlens agent configuration. Check it with: wattlens config check FILE
# Every option with its default: wattlens init --full
{machine_notes}
node:
  cluster: default          # name of the cluster on every metric and in the ledger

web:
  listen: {listen:<17} # 0.0.0.0:9479 lets a Prometheus on another host scrape /metrics

ledger:
  disk_budget_mib: 512      # size limit of the journal on this node

# Joules per token: one entry for each inference server on this node.
# tokens:
#   - workload: chat        # the name that `wattlens top` shows
#     url: http://127.0.0.1:8000/metrics
#     server: vllm

# A socket for `wattlens.step` and `wattlens measure` of programs on this node.
# client:
#   socket: /run/wattlens/client/agent.sock
"""


def starter(listen: str, machine_notes: Iterable[str] = ()) -> str:
    """A short file that works as it is. `machine_notes` are lines about the machine, for its head."""
    return STARTER.format(listen=listen, machine_notes="".join(f"# {line}\n" for line in machine_notes if line))


def template(machine_notes: Iterable[str] = (), listen: str | None = None) -> str:
    """The file with every option, commented out.

    Args:
        machine_notes: lines about the machine, for its head.
        listen: value of `web.listen`, which is then set; None: the default.
    """
    lines = [*_prose(HEAD, ""), *(f"## {line}".rstrip() for line in machine_notes)]
    for name, field in Config.model_fields.items():
        section = model_of(field.annotation)
        assert section is not None, name
        lines += ["", *_prose((section.__doc__ or "").strip().split("\n\n")[0], "")]
        lines += _examples(name, name, section, field, "") if _is_off(field) else [f"# {name}:", *_section(section, name, "  ")]
    if listen is not None:
        web = lines.index("# web:")
        at = next(n for n in range(web, len(lines)) if lines[n].startswith("#   listen: "))
        lines[web], lines[at] = "web:", f"  listen: {_yaml(listen)}"
    return "\n".join(lines) + "\n"


def _section(model: type[BaseModel], path: str, indent: str, example: Mapping[str, Any] | None = None) -> Iterator[str]:
    """The keys of a section; in an example with its values, and without the sections that it leaves out."""
    for name, field in model.model_fields.items():
        inner, at = model_of(field.annotation), f"{path}.{name}"
        if inner is None:
            yield from _prose(f"{field.description or ''} ({values(field)})".strip(), indent)
            value = (example or {}).get(name, None if field.is_required() else field.get_default(call_default_factory=True))
            yield f"# {indent}{name}: {_yaml(value)}"
        elif not _is_off(field):
            yield from _prose(field.description or (inner.__doc__ or "").strip().split("\n\n")[0], indent)
            yield f"# {indent}{name}:"
            yield from _section(inner, at, indent + "  ")
        elif example is None or name not in example:
            yield from _prose(field.description or (inner.__doc__ or "").strip().split("\n\n")[0], indent)
            yield from _examples(name, at, inner, field, indent)


def _is_off(field: FieldInfo) -> bool:
    """A list of sections, or a section that is off by default."""
    return model_of(field.annotation) is not None and (get_origin(field.annotation) is tuple or field.default is None)


def _examples(name: str, path: str, model: type[BaseModel], field: FieldInfo, indent: str) -> Iterator[str]:
    yield from _prose("Not set by default. Example:", indent)
    yield f"# {indent}{name}:"
    listed = get_origin(field.annotation) is tuple
    for example in EXAMPLES.get(path, ({},)):
        lines = list(_section(model, path, indent + ("    " if listed else "  "), example))
        if listed:
            first = next(n for n, line in enumerate(lines) if line.startswith("# "))
            lines[first] = f"# {indent}  - {lines[first].removeprefix('# ').lstrip()}"
        yield from lines


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
    for line in textwrap.wrap(" ".join(text.split()), WIDTH - len(indent) - 3):
        yield f"## {indent}{line}"
