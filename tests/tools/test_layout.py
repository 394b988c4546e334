"""Counts of modules and plug-ins by folder."""

from tools.layout import FolderCount, count_modules


def test_plugins_are_counted_apart(tmp_path):
    folder = tmp_path / "reports/sections"
    folder.mkdir(parents=True)
    files = {
        "__init__": "",
        "cost": "SPEC = 1\n",
        "energy": "SPEC: Section = 2\n",
        "_common": "SPEC = 3\n",
        "table": "SPECS = 4\n",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    assert count_modules(tmp_path) == {"reports/sections": FolderCount(modules=4, plugins=2)}
