"""Which metric families and devices /metrics shows. Hidden ones are still read and recorded."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from energy_agent.core.catalogue.node import BY_NAME

PREFIX = "wattlens_"


@dataclass(frozen=True, slots=True)
class Selection:
    """Names, UUIDs, indices or globs of them. Empty `include`: all; `exclude` wins."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include_gpus: tuple[str, ...] = ()
    exclude_gpus: tuple[str, ...] = ()

    def shows_family(self, name: str) -> bool:
        """Whether a family is shown; `name` is a signal's, without the prefix."""
        return _is_selected((name,), self.include, self.exclude)

    def shows_gpu(self, uuid: str, index: int) -> bool:
        """Whether a GPU is shown."""
        return _is_selected((uuid, str(index)), self.include_gpus, self.exclude_gpus)


ALL = Selection()


def checked_family(pattern: str) -> str:
    """The pattern of a family without the prefix, where it names at least one.

    Raises:
        ValueError: it names none; the message has the nearest.
    """
    name = pattern.removeprefix(PREFIX)
    exported = [signal.name for signal in BY_NAME.values() if not signal.reserved]
    if any(fnmatchcase(known, name) for known in exported):
        return name
    near = difflib.get_close_matches(name.strip("*?"), exported, 1, 0.4)
    hint = f"did you mean {PREFIX + near[0]!r}?" if near else "docs/metrics.md lists them"
    raise ValueError(f"unknown metric {pattern!r}; {hint}")


def checked_gpu(pattern: str) -> str:
    """The pattern of a GPU, where it can be one.

    Raises:
        ValueError: neither an index, nor a UUID, nor a glob.
    """
    if pattern.isascii() and (pattern.isdigit() or pattern.startswith("GPU-") or any(c in pattern for c in "*?[")):
        return pattern
    raise ValueError(f"expected a GPU by index, UUID (GPU-...), or a glob of either, got {pattern!r}")


def _is_selected(names: Iterable[str], include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    def named(patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    return not named(exclude) and (not include or named(include))
