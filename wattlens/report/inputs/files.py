"""Files of an organisation's inputs, relative to the file that names them, each recorded with its hash."""

import hashlib
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.core.text import is_printable
from energy_agent.factors import bounded_file


class InputFiles:
    """Files below a folder, and the content read from them."""

    def __init__(self, folder: Path) -> None:
        """Take the folder from which relative paths count."""
        self._folder = folder
        self._read: dict[str, str] = {}

    @property
    def read_so_far(self) -> tuple[tuple[str, str], ...]:
        """(path as it was given, SHA-256) of each file, in the order of the paths."""
        return tuple(sorted(self._read.items()))

    def place(self, given: Path, beside: Path | None = None) -> Path:
        """Where a path leads: from our folder, or from that of the file of ours that it stands in."""
        return self._folder / (given if beside is None else beside.parent / given)

    def read(self, given: Path, most_b: int, beside: Path | None = None) -> bytes:
        """The bytes of a file.

        Raises:
            UsageError: it cannot be read, is no ordinary file, or is larger than `most_b`.
        """
        raw = bounded_file.read(self.place(given, beside), most_b)
        self.note(str(given if beside is None else beside.parent / given), raw)
        return raw

    def note(self, given: str, raw: bytes) -> None:
        """Take up the hash of a file.

        Raises:
            UsageError: it is not what it was when it was read before, or its name cannot be printed.
        """
        if not is_printable(given):
            raise UsageError(f"{given!r}: expected a file name without control characters; rename the file")
        digest = hashlib.sha256(raw).hexdigest()
        if self._read.setdefault(given, digest) != digest:
            raise UsageError(f"{given} changed while it was read; try again once it is written")
