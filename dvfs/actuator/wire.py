"""The actuator's wire: a 4-byte big-endian length, then that many bytes (at most 4 KiB) of one JSON object. Version 1."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

VERSION = 1
MAX_BYTES = 4096
PAGE_BYTES = 2048  # of the rows of a page; the path and the other fields of the response need room too
_HEAD = 4
_Row = TypeVar("_Row")


class WireError(Exception):
    """The received data is not a valid message; the connection is no longer usable."""


def encode(message: dict[str, Any]) -> bytes:
    """One frame. Half a surrogate pair, which no UTF-8 holds, becomes "?".

    Raises:
        WireError: larger than MAX_BYTES, or with a number that JSON does not have.
    """
    try:
        body = _body(message)
    except ValueError as error:
        raise WireError(f"not JSON: {error}") from error
    if len(body) > MAX_BYTES:
        raise WireError(f"message of {len(body)} bytes, expected at most {MAX_BYTES}")
    return len(body).to_bytes(_HEAD, "big") + body


def cut(text: str, longest: int) -> str:
    """The beginning of a text, at most `longest` bytes of UTF-8, never half a character."""
    return text.encode(errors="replace")[:longest].decode(errors="ignore")


def first_page(rows: Sequence[_Row]) -> Sequence[_Row]:
    """The first rows, as many as fit an answer; at least one."""
    size = 0
    for number, row in enumerate(rows):
        size += len(_body(row)) + 1
        if number and size > PAGE_BYTES:
            return rows[:number]
    return rows


def _body(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(errors="replace")


class Decoder:
    """Bytes in, messages out; holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def partial(self) -> bool:
        """Whether an unfinished frame waits."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Messages that are complete now.

        Raises:
            WireError: oversized, not JSON in UTF-8, or not an object.
        """
        self._buffer += data
        messages: list[dict[str, Any]] = []
        while len(self._buffer) >= _HEAD:
            size = int.from_bytes(self._buffer[:_HEAD], "big")
            if size > MAX_BYTES:
                raise WireError(f"message of {size} bytes, expected at most {MAX_BYTES}")
            if len(self._buffer) < _HEAD + size:
                break
            body, self._buffer = self._buffer[_HEAD : _HEAD + size], self._buffer[_HEAD + size :]
            try:
                message = json.loads(body.decode(), parse_constant=_refuse_constant)
                if b"\\u" in body:
                    json.dumps(message, ensure_ascii=False).encode()  # half a surrogate pair is no text
            except (ValueError, RecursionError) as error:
                raise WireError("not JSON") from error
            if not isinstance(message, dict):
                raise WireError("not a JSON object")
            messages.append(message)
        return messages


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")
