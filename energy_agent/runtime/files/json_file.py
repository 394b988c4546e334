"""JSON files of unknown origin, plain or gzip, checked against a type before anything else sees them."""

import zlib
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from energy_agent.core.errors import UsageError

MAX_BYTES = 64 << 20
T = TypeVar("T")


def load(adapter: TypeAdapter[T], path: Path, max_b: int = MAX_BYTES) -> T:
    """The content of a file.

    Raises:
        UsageError: the file cannot be read, is larger than `max_b`, or is not of this type; one line with file and key.
    """
    return parse(adapter, read(path, max_b), str(path))


def read(path: Path, max_b: int) -> bytes:
    """The bytes of a file, decompressed if it is gzip; `max_b` limits both. Raises UsageError as `load` does."""
    try:
        with path.open("rb") as file:
            raw = file.read(max_b + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror}") from None
    if len(raw) > max_b:
        raise UsageError(f"{path}: larger than {max_b} bytes")
    return _decompress(raw, path, max_b) if raw.startswith(b"\x1f\x8b") else raw


def _decompress(raw: bytes, path: Path, max_b: int) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(raw, max_b + 1)
    except zlib.error:
        raise UsageError(f"{path}: not valid gzip") from None
    if len(text) > max_b or stream.unconsumed_tail:
        raise UsageError(f"{path}: larger than {max_b} bytes when decompressed")
    if not stream.eof:
        raise UsageError(f"{path}: ends within its gzip data")
    return text


def parse(adapter: TypeAdapter[T], raw: bytes | str, name: str) -> T:
    """A JSON text as this type; `name` starts the message. Raises UsageError as `load` does."""
    try:
        return adapter.validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"{name}: {key}{': ' * bool(key)}{first['msg'].removeprefix('Value error, ')}") from None
