"""Find plug-ins: each file of a package defines one `SPEC`. Importing one registers nothing and has no effect."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any


def names(package: ModuleType) -> list[str]:
    """Module names of the parts in `package`, sorted; those that start with an underscore are not parts."""
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(package: ModuleType, name: str) -> Any:
    """The `SPEC` of the part `name`.

    Raises:
        LookupError: no such part, or the file has no SPEC.
    """
    if name not in names(package):
        raise LookupError(f"{package.__name__}: unknown name {name!r}; available: {', '.join(names(package))}")
    return _spec(package, name)


def discover(package: ModuleType) -> dict[str, Any]:
    """Every part's SPEC by its module name.

    Raises:
        LookupError: a file has no SPEC.
    """
    return {name: _spec(package, name) for name in names(package)}


def _spec(package: ModuleType, name: str) -> Any:
    module = importlib.import_module(f"{package.__name__}.{name}")
    try:
        return module.SPEC
    except AttributeError:
        raise LookupError(f"{module.__name__} has no SPEC") from None
