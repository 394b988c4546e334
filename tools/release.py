"""Check that a tag, the package, the chart and the changelog have the same version: `python -m tools.release vX.Y.Z`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def mismatches(tag: str, root: Path = ROOT) -> list[str]:
    """One line per file whose version is not the tag's."""
    version = tag.removeprefix("v")
    expected = {
        "wattlens/__init__.py": rf'(?m)^__version__ = "{re.escape(version)}"$',
        "deploy/helm/wattlens/Chart.yaml": rf'(?ms)^version: {re.escape(version)}$.*^appVersion: "{re.escape(version)}"$',
        "CHANGELOG.md": rf"(?m)^## {re.escape(version)} ",
    }
    texts = {name: (root / name).read_text(encoding="utf-8") for name in expected}
    return [f"{name}: expected version {version}" for name, pattern in expected.items() if not re.search(pattern, texts[name])]


def main() -> int:
    """Command line."""
    if len(sys.argv) != 2 or not re.fullmatch(r"v\d+\.\d+\.\d+", sys.argv[1]):
        sys.stderr.write("usage: python -m tools.release vX.Y.Z\n")
        return 2
    lines = mismatches(sys.argv[1])
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
