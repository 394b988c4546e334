"""MIB modules of pysnmp, loaded from Python's bytecode cache.

pysnmp ships its MIB modules as Python source and compiles them for each engine, twice. A session needs a new engine after each
request that fails, so that an unresponsive device would cost a quarter of a second of CPU per poll.
"""

from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any


def create_controller() -> Any:
    """Return a MibInstrumController for a new engine, with objects of its own."""
    from pysnmp.smi.instrum import MibInstrumController  # type: ignore[import-untyped,unused-ignore]

    return MibInstrumController(_builder_class()())


@cache
def _builder_class() -> type[Any]:
    from pysnmp.smi.builder import MibBuilder  # type: ignore[import-untyped,unused-ignore]
    from pysnmp.smi.error import MibLoadError  # type: ignore[import-untyped,unused-ignore]

    class CachedMibBuilder(MibBuilder):  # type: ignore[misc,unused-ignore]
        """Load modules as Python imports them, in pysnmp's own order of folders."""

        def __init__(self) -> None:
            super().__init__()
            self._started: set[str] = set()

        def load_module(self, modName: str, **userCtx: Any) -> Any:  # noqa: N803 (pysnmp's names)
            if modName in self._started:  # before it has ended too, as modules import each other in cycles
                return self
            paths = (source.full_path(modName, ".py") for source in self.get_mib_sources())
            path = next((path for path in paths if Path(path).is_file()), None)
            if path is None:
                return super().load_module(modName, **userCtx)
            loader = SourceFileLoader(f"pysnmp.smi.mibs.{modName}", path)
            spec = spec_from_loader(loader.name, loader)
            assert spec is not None
            module = module_from_spec(spec)
            vars(module).update(mibBuilder=self, userCtx=userCtx)
            self._started.add(modName)
            try:
                loader.exec_module(module)
            except Exception as error:
                self._started.remove(modName)
                raise MibLoadError(f"MIB module {path}: {error}") from error
            return self

    return CachedMibBuilder
