"""Which fonts of a machine a PDF may have taken: typst's own have Latin, Greek and Cyrillic letters, folders the others."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from reports.render.fonts import folders

_MOST: Final = 10_000
"""Maximum number of files of a folder that are checked."""
_OTHER_SCRIPTS: Final = ((0x0530, 0x1E00), (0x2600, 0x27C0), (0x2E80, 0x110000))


def describe_fonts(facts_json: bytes, language: str, font_dirs: Sequence[Path]) -> str | None:
    """A short hash of the names and sizes of the fonts at hand; None: none of them is needed.

    Args:
        facts_json: what is printed.
        language: in which.
        font_dirs: as given; none: Debian's Noto CJK, where it is.

    Raises:
        UsageError: a given folder is not there.
    """
    if language != "zh" and not _other_script(facts_json):
        return None
    listed = sorted(line for folder in folders(font_dirs) for line in _listed(folder))
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]


def _listed(folder: Path) -> Iterator[str]:
    for _, path in zip(range(_MOST), folder.rglob("*"), strict=False):
        if path.is_file():
            yield f"{path.name}\t{path.stat().st_size}"


def _other_script(facts_json: bytes) -> bool:
    text = json.dumps(json.loads(facts_json), ensure_ascii=False)
    return any(start <= ord(letter) < end for letter in set(text) for start, end in _OTHER_SCRIPTS)
