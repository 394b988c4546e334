"""Files that fail at a given step: a crash after any step of writing a segment loses nothing."""

import errno
import os
from pathlib import Path

from energy_agent.ledger.segments.files import RealFiles


class FailingFiles:
    """Real files that fail with ENOSPC at operation number `fail_at` (from 0); a failed write leaves half a file behind."""

    def __init__(self, fail_at: int) -> None:
        self._countdown = fail_at
        self._real = RealFiles()

    def _fails(self) -> bool:
        self._countdown -= 1
        return self._countdown == -1

    def write(self, path: Path, data: bytes) -> None:
        """Write, or half of it and fail."""
        if self._fails():
            self._real.write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self._real.write(path, data)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, or fail before it."""
        if self._fails():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        self._real.rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        """Sync, or fail before it."""
        if self._fails():
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))
        self._real.sync_folder(folder)
