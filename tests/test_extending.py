"""The examples of docs/extend: each loads, and its SPEC is what the parts of its folder have."""

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from energy_agent.core import plugin

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
KINDS = {
    "policy.md": ("dvfs.policies",),
    "token-server.md": ("energy_agent.tokens.servers",),
    "node-meter.md": ("energy_agent.node.meters",),
    "facility-meter.md": ("energy_agent.site.meters",),
    "grid-source.md": ("energy_agent.site.grid.sources",),
    "sharing-rule.md": ("energy_agent.metering.sharing.policies",),
    "report.md": ("reports.figures.measures", "reports.page.sections"),
    "dashboard-row.md": ("dashboards.boards.dvfs",),
    "doctor-check.md": ("wattlens.doctor.checks",),
    "subcommand.md": ("wattlens.cli",),
}
PAGES = ROOT / "docs/extend"


def _loaded(text: str, path: Path):
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", KINDS)
def test_an_example_is_a_part_of_its_folder(page, tmp_path):
    examples = EXAMPLE.findall((PAGES / page).read_text())
    assert len(examples) == len(KINDS[page])
    for i, (example, folder) in enumerate(zip(examples, KINDS[page], strict=True)):
        parts = importlib.import_module(folder)
        kinds = {type(plugin.load(parts, name)) for name in plugin.names(parts) if name != "mapping"}
        assert type(_loaded(example, tmp_path / f"example_{page[:-3].replace('-', '_')}_{i}.py").SPEC) in kinds


def test_every_folder_of_parts_has_its_page():
    """A folder of which most files have a SPEC is one that people extend."""
    packages = ("wattlens", "energy_agent", "dvfs", "reports", "dashboards")
    files = [p for package in packages for p in (ROOT / package).rglob("*.py")]
    parts = [p.parent if p.name == "__init__.py" else p for p in files if re.search(r"^SPEC\b", p.read_text(), re.M)]
    folders = {str(part.parent.relative_to(ROOT)).replace("/", ".") for part in parts}
    # Each dashboard has a folder of rows; one page is for all of them.
    folders = {re.sub(r"^dashboards\.boards\.\w+$", "dashboards.boards.dvfs", folder) for folder in folders}
    assert folders == {folder for folders in KINDS.values() for folder in folders}


def test_the_table_names_every_page():
    text = (PAGES / "README.md").read_text()
    assert {p.name for p in PAGES.glob("*.md")} - {"README.md"} == set(KINDS) == set(re.findall(r"\]\(([\w-]+\.md)\)", text))


def test_a_new_file_is_all_that_a_new_part_takes(tmp_path, monkeypatch):
    """Each example, put into its folder as one more file, is found there; nothing that was there is changed for it."""
    for page, folders in KINDS.items():
        for example, folder in zip(EXAMPLE.findall((PAGES / page).read_text()), folders, strict=True):
            parts = importlib.import_module(folder)
            more = tmp_path / folder
            more.mkdir()
            (more / "one_more.py").write_text(example)
            before = plugin.names(parts)
            monkeypatch.setattr(parts, "__path__", [*parts.__path__, str(more)])
            assert plugin.names(parts) == sorted([*before, "one_more"])
            assert type(plugin.load(parts, "one_more")) is type(plugin.load(parts, next(n for n in before if n != "mapping")))
            sys.modules.pop(f"{folder}.one_more")
