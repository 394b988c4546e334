"""Rows of an exported file: continued where reading stopped, reread where the file was replaced, of bounded size."""

import csv
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from energy_agent.core.meters.reading import MeterError
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.fleet.parquet import ForeignTable

FILE_LIMIT_B: Final = 1 << 30
ROWS_LIMIT: Final = 10_000_000
_LINE_LIMIT_B: Final = 4_096
_TAIL_B: Final = 1_024
_QUIET_S: Final = 60.0  # a last line without its end is taken once nothing was written for so long

Row = tuple[int, tuple[str, ...]]
"""Its number in the file, and the cells of the required columns; "" for an absent cell."""


class RowError(MeterError):
    """What is wrong in a row; `number` is the row's."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


class ReadingsCsv:
    """Rows by line. A row counts as read when the next one is requested: an invalid line is read again after it is corrected.

    Args:
        path: the file.
        delimiter: what is between two cells.
        boot_ns: the boot clock.
    """

    def __init__(self, path: Path, delimiter: str, boot_ns: Callable[[], int]) -> None:
        self._path, self._delimiter, self._boot_ns = path, delimiter, boot_ns
        self._unfinished: tuple[tuple[int, bytes], int] | None = None  # the last line where it has no end, and since when
        self._offset = self._lines = 0
        self._header = self._tail = b""
        self._columns: list[str] = []

    def refresh(self, file: BinaryIO) -> bool:
        """Look whether it is still the file that was read on; False: it is read again."""
        file.seek(0)
        header = file.read(len(self._header))
        file.seek(self._offset - len(self._tail))
        if self._offset and header == self._header and file.read(len(self._tail)) == self._tail:
            return True
        self._offset = self._lines = 0
        self._header = self._tail = b""
        file.seek(0)
        line = self._line(file)
        if line is None:
            raise MeterError("expected a header line with the column names, got an empty file")
        self._columns = [name.strip() for name in self._cells(line, "utf-8-sig")]
        if len(set(self._columns)) < len(self._columns):
            raise RowError(1, "duplicate column")
        self._header = line
        self._step(line)
        return False

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""
        return self._columns

    def rows(self, file: BinaryIO, columns: Sequence[str]) -> Iterator[Row]:
        """Rows that were not read before."""
        places = [self._columns.index(name) for name in columns]
        file.seek(self._offset)
        while (line := self._line(file)) is not None:
            if line.strip():
                cells = self._cells(line, "utf-8")
                if len(cells) != len(self._columns):
                    raise RowError(self._lines + 1, f"has {len(cells)} cells, but the header has {len(self._columns)}")
                yield self._lines + 1, tuple(cells[i].strip() for i in places)
            self._step(line)

    def _step(self, line: bytes) -> None:
        self._offset += len(line)
        self._lines += 1
        self._tail = (self._tail + line)[-_TAIL_B:]

    def _line(self, file: BinaryIO) -> bytes | None:
        """The next line that is whole."""
        line = file.readline(_LINE_LIMIT_B + 1)
        if len(line) > _LINE_LIMIT_B:
            raise RowError(self._lines + 1, f"is longer than {_LINE_LIMIT_B} bytes")
        if self._lines > ROWS_LIMIT:
            raise RowError(self._lines + 1, f"exceeds the maximum of {ROWS_LIMIT} rows; start a new file")
        return line if line.endswith(b"\n") or (line and self._is_quiet(line)) else None

    def _is_quiet(self, line: bytes) -> bool:
        """Whether a line without its end has stayed the same for so long that nobody goes on writing it."""
        at = self._offset, line
        if self._unfinished is None or self._unfinished[0] != at:
            self._unfinished = at, self._boot_ns()
        return self._boot_ns() - self._unfinished[1] > _QUIET_S * NS_PER_S

    def _cells(self, line: bytes, encoding: str) -> list[str]:
        try:
            return next(csv.reader([line.decode(encoding)], delimiter=self._delimiter, strict=True), [])
        except UnicodeDecodeError:
            raise RowError(self._lines + 1, "is not UTF-8") from None
        except csv.Error as error:
            raise RowError(self._lines + 1, f"is not a CSV row ({error})") from None


class ParquetFile:
    """Rows by number. It cannot grow: one that changed was replaced."""

    def __init__(self) -> None:
        self._file_state: tuple[int, ...] = ()
        self._done = 0
        self._table: ForeignTable | None = None

    def refresh(self, file: BinaryIO) -> bool:
        """Look whether it is still the file that was read on; False: it is read again."""
        status = os.fstat(file.fileno())
        file_state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        same = file_state == self._file_state
        self._table = None
        if not same:
            self._file_state, self._done = (), 0
        try:
            self._table = ForeignTable(file)
        except ValueError as error:
            raise MeterError(str(error)) from None
        if self._table.rows > ROWS_LIMIT:
            raise MeterError(f"has {self._table.rows} rows, but the maximum is {ROWS_LIMIT}")
        self._file_state = file_state
        return same

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""
        return () if self._table is None else self._table.columns

    def rows(self, _file: BinaryIO, columns: Sequence[str]) -> Iterator[Row]:
        """Rows that were not read before."""
        if self._table is None or self._done >= self._table.rows:
            return
        try:
            for cells in self._table.read(columns, self._done, FILE_LIMIT_B):
                yield self._done + 1, tuple("" if cell is None else cell.strip() for cell in cells)
                self._done += 1
        except ValueError as error:
            raise MeterError(str(error)) from None


def opened(path: Path) -> BinaryIO:
    """A regular file of at most FILE_LIMIT_B bytes.

    Raises:
        MeterError: it is not such a file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MeterError(error.strerror or str(error)) from None
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size <= FILE_LIMIT_B:
        return os.fdopen(fd, "rb")
    os.close(fd)
    regular = stat.S_ISREG(status.st_mode)
    raise MeterError(f"has more than {FILE_LIMIT_B >> 20} MiB; start a new file" if regular else "is not a regular file")
