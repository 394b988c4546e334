"""Shape of the product's packages: modules at each folder's root, import cycles, private imports across packages.

`python -m tools.layout` prints them; `--most 15` names the folders with more modules than that.
"""

import argparse
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PACKAGES = ("wattlens", "energy_agent", "dvfs", "dashboards", "reports")


def count_modules(root: Path) -> dict[str, int]:
    """Modules directly in each folder with Python files, without `__init__.py`."""
    folders: dict[str, int] = {}
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            name = str(path.parent.relative_to(root))
            folders[name] = folders.get(name, 0) + (path.name != "__init__.py")
    return folders


def find_cycle(graph: grimp.ImportGraph) -> list[str]:
    """Return one cycle of imports, those in functions included, or an empty list."""
    try:
        TopologicalSorter({m: graph.find_modules_directly_imported_by(m) - {m} for m in graph.modules}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def find_private_imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Imports of a module with an underscore by a module outside of its package."""
    found = []
    for imported in graph.modules:
        parts = imported.split(".")
        owners = [".".join(parts[:at]) for at, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")]
        for importer in graph.find_modules_that_directly_import(imported) if owners else ():
            if not all(f"{importer}.".startswith(f"{owner}.") for owner in owners):
                found.append((importer, imported))
    return sorted(found)


def main() -> None:
    """Print the shape of the checkout in the current folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=15, metavar="N", help="name the folders with more than N modules")
    most = parser.parse_args().most
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    folders = count_modules(Path.cwd())
    for package in PACKAGES:
        print(f"{package}: {folders[package]} modules at its root, {sum(f.startswith(package) for f in folders)} folders")
    for name, count in sorted(folders.items()):
        if count > most:
            print(f"{name}: {count} modules")
    print("import cycle:", " -> ".join(find_cycle(graph)) or "none")
    private = find_private_imports(graph)
    print(f"private imports across packages: {len(private)}", *(f"{a} -> {b}" for a, b in private), sep="\n  ")


if __name__ == "__main__":
    main()
