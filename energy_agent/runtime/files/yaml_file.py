"""YAML files that people write: read up to a bound, without aliases and repeated keys."""

import os
import stat
from pathlib import Path
from typing import Any

import yaml

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files.permissions import require_safe

MAX_BYTES = 1 << 20


class _Loader(yaml.SafeLoader):
    """Safe YAML without what a configuration does not need: repeated keys, and aliases, of which a few fill any memory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As in the base class, but for aliases."""
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"alias '*{event.anchor}' is not allowed here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As in the base class, but an impossible date or number has its place."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError) as error:
            text = f"{node.value[:40]!r}: {error}" if isinstance(node, yaml.ScalarNode) else str(error)
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As in the base class, but a duplicate key is an error."""
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is a duplicate", key.start_mark)
            keys.add(str(key.value))
        return super().construct_mapping(node, deep)


def read(path: Path, what: str, safe: bool = False, folders_above: bool = True) -> bytes:
    """Return the bytes of a file of at most MAX_BYTES.

    Args:
        path: the file.
        what: kind of file, for messages.
        safe: refuse a file that other users may change.
        folders_above: with `safe`, also refuse one that other users may replace.

    Raises:
        UsageError: the file cannot be read, is a pipe or too large, or is not safe.
    """
    try:
        if stat.S_ISFIFO(path.stat().st_mode):  # nobody may ever write to it
            raise UsageError(f"{what} {path} is a pipe; expected a file")
        with path.open("rb") as file:
            if safe:
                require_safe(path, what, os.fstat(file.fileno()), folders_above=folders_above)
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{what} {path} is larger than {MAX_BYTES} bytes")
    return raw


def parse(raw: bytes, name: str) -> object:
    """Return the content of a YAML text, an empty mapping for an empty one. `name` is the file in messages.

    Raises:
        UsageError: not UTF-8, or not YAML; one line.
    """
    try:
        data = yaml.load(raw.decode("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8 text") from None
    except RecursionError:
        raise UsageError(f"{name}: nested too deeply") from None
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
        # All but the first: an impossible date, number or tag, which PyYAML passes on as it comes.
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        if what.startswith("expected <block end>") and mark and mark.line:
            what = f"the indentation does not match line {mark.line}"
        elif "'\\t' that cannot start" in what:
            what = "expected spaces, got a tab"
        raise UsageError(f"{name} is not valid YAML{where}: {what}") from None
    return {} if data is None else data
