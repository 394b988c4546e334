"""The kill switch: files, each of which turns steering off for as long as it exists."""

import os
from collections.abc import Sequence
from pathlib import Path

FILE = "dvfs.off"


class KillSwitch:
    """`wattlens dvfs off` writes the first file; each of the others switches steering off too."""

    def __init__(self, files: Sequence[Path] = ()) -> None:
        """Without files it is never on."""
        self._files = tuple(dict.fromkeys(files))

    @property
    def path(self) -> Path | None:
        """The file that switches steering off now, otherwise the one that would; None without a switch."""
        return next((path for path in self._files if _exists(path)), next(iter(self._files), None))

    def is_on(self) -> bool:
        """Whether one of the files exists. A place that cannot be read counts as on: not to steer is the safe side."""
        return any(_exists(path) for path in self._files)


def _exists(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
