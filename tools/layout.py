"""Shape of the product's packages: modules at each folder's root, import cycles, private imports across packages.

`python -m tools.layout` prints them; `--most 15` names the folders with more modules than that. Plug-ins are counted apart:
each is one file with a `SPEC`, which energy_agent.core.plugin finds by listing the folder, so it cannot move to a sub-folder.
"""

import argparse
import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PACKAGES = ("wattlens", "energy_agent", "dvfs", "dashboards", "reports")
_SPEC = re.compile(r"^SPEC\b.*=", re.MULTILINE)


@dataclass(slots=True)
class FolderCount:
    """Modules directly in a folder, without `__init__.py`, and how many of them are plug-ins."""

    modules: int = 0
    plugins: int = 0

    def __str__(self) -> str:
        """As the tool prints it."""
        return f"{self.modules} modules" + (f", {self.plugins} of them plug-ins" if self.plugins else "")


def count_modules(root: Path) -> dict[str, FolderCount]:
    """Count the modules of each folder with Python files."""
    folders: dict[str, FolderCount] = {}
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            count = folders.setdefault(str(path.parent.relative_to(root)), FolderCount())
            if path.name != "__init__.py":
                count.modules += 1
                count.plugins += is_plugin(path)
    return folders


def is_plugin(path: Path) -> bool:
    """Whether energy_agent.core.plugin finds a plug-in in this file."""
    return not path.name.startswith("_") and _SPEC.search(path.read_text(encoding="utf-8")) is not None


def find_cycle(graph: grimp.ImportGraph) -> list[str]:
    """Return one cycle of imports, those in functions included, or an empty list."""
    try:
        TopologicalSorter({m: graph.find_modules_directly_imported_by(m) - {m} for m in graph.modules}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def find_private_imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Imports of a module with an underscore by a module outside of its package."""
    imports = []
    for imported in graph.modules:
        parts = imported.split(".")
        owners = [".".join(parts[:at]) for at, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")]
        for importer in graph.find_modules_that_directly_import(imported) if owners else ():
            if not all(f"{importer}.".startswith(f"{owner}.") for owner in owners):
                imports.append((importer, imported))
    return sorted(imports)


def main() -> None:
    """Print the shape of the checkout in the current folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=15, metavar="N", help="name the folders with more than N modules")
    most = parser.parse_args().most
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    folders = count_modules(Path.cwd())
    for package in PACKAGES:
        below = sum(name.startswith(package) for name in folders)
        print(f"{package}: {folders[package].modules} modules at its root, {below} folders")
    for name, count in sorted(folders.items()):
        if count.modules > most:
            print(f"{name}: {count}")
    print("import cycle:", " -> ".join(find_cycle(graph)) or "none")
    private = find_private_imports(graph)
    print(f"private imports across packages: {len(private)}", *(f"{a} -> {b}" for a, b in private), sep="\n  ")


if __name__ == "__main__":
    main()
