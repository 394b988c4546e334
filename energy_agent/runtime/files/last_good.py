"""The configuration that a process last ran with, in its state folder, so that an invalid file does not prevent a start.

A file that is rejected while the process runs changes nothing. Without this copy the same file would end the process at its
next restart, in a loop, and stop metering.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from energy_agent.core.errors import UsageError

COPY_MAX_B = 1 << 21
Model = TypeVar("Model")


class LastGood:
    """The copy of `source` in the folder `state`; a copy of another file counts for nothing."""

    def __init__(self, source: Path, state: Path, log: logging.Logger) -> None:
        """Nothing is read yet."""
        self.source, self.path, self._log = source, state / "config.last-good.yaml", log
        self._head = f"# Copy of {str(source.absolute())!r}, the configuration of the last run.\n".encode("utf-8", "replace")

    def keep(self, raw: bytes) -> None:
        """Replace the copy; one that cannot be written is logged and harms nothing."""
        if self._read() == raw:
            return
        draft = self.path.with_suffix(".draft")
        try:
            with suppress(FileNotFoundError):
                draft.unlink()
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
            with os.fdopen(handle, "wb") as file:
                file.write(self._head + raw)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError as error:
            self._log.warning("cannot save a copy of the configuration in %s: %s", self.path, error.strerror)

    def exists(self) -> bool:
        """Whether the process ran with this file before."""
        return self._read() is not None

    def load(self, read: Callable[[], bytes], parse: Callable[[bytes], Model]) -> tuple[Model, bytes, str]:
        """The configuration of the file, or of the copy where the file is wrong.

        Returns:
            The configuration, its bytes, and why the file was not used; "" where it was.

        Raises:
            UsageError: the file is wrong, and there is no copy that is right.
        """
        try:
            raw = read()
            return parse(raw), raw, ""
        except UsageError as wrong:
            copy = self._read()
            if copy is None:
                raise
            try:
                model = parse(copy)
            except UsageError:
                raise wrong from None
            self._log.error(
                "%s; starting with the configuration of the last run, %s, until the file is corrected", wrong, self.path
            )
            return model, copy, str(wrong)

    def _read(self) -> bytes | None:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                raw = file.read(COPY_MAX_B)
        except OSError:
            return None
        return raw.removeprefix(self._head) if raw.startswith(self._head) else None
