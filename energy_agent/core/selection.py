"""Which metric families and devices /metrics shows. Hidden ones are still read and recorded."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


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


def _is_selected(names: Iterable[str], include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    def named(patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    return not named(exclude) and (not include or named(include))
