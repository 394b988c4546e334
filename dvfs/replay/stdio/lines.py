"""JSON lines from a peer that nobody vouches for, checked one by one."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeVar

from pydantic import BaseModel, TypeAdapter

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files import json_file

MAX_LINE = 1 << 20
M = TypeVar("M", bound=BaseModel)


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream. Of a line longer than `MAX_LINE` only the start is read, which `JsonLines` rejects."""
    return iter(lambda: stream.readline(MAX_LINE + 2), b"")


class JsonLines:
    """Messages, one per line; blank lines are skipped. `number` is that of the last line."""

    def __init__(self, lines: Iterable[str | bytes]) -> None:
        self._lines = iter(lines)
        self._peeked: str | bytes | None = None
        self.number = 0

    def read(self, model: type[M]) -> M | None:
        """The next message; None at the end.

        Raises:
            UsageError: the line is too long or not a message of this type; the message has its number.
        """
        line, self._peeked = self.peek(), None
        return None if line is None else json_file.parse(TypeAdapter(model), line, f"line {self.number}")

    def peek(self) -> str | bytes | None:
        """The line that `read` parses next; None at the end. Raises UsageError as `read` does."""
        while self._peeked is None:
            line = next(self._lines, None)
            if line is None:
                return None
            self.number += 1
            if len(line) > MAX_LINE + 1:  # with its end
                raise UsageError(f"line {self.number}: expected at most {MAX_LINE} bytes")
            if line.strip():
                self._peeked = line
        return self._peeked
