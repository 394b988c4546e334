"""The actuator's wire: a 4-byte big-endian length, then that many bytes (at most 4 KiB) of one JSON object. Version 1."""

import json
from typing import Any

VERSION = 1
MAX_BYTES = 4096
_HEAD = 4


class WireError(Exception):
    """What came is no message; the connection cannot be trusted any further."""


def encode(message: dict[str, Any]) -> bytes:
    """One frame.

    Raises:
        WireError: larger than MAX_BYTES.
    """
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_BYTES:
        raise WireError(f"message of {len(body)} bytes; the limit is {MAX_BYTES}")
    return len(body).to_bytes(_HEAD, "big") + body


class Decoder:
    """Bytes in, messages out; holds at most one unfinished frame."""

    def __init__(self) -> None:
        """Start empty."""
        self._buffer = b""

    @property
    def partial(self) -> bool:
        """Whether an unfinished frame waits."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Messages that are complete now.

        Raises:
            WireError: oversized, not JSON, or not an object.
        """
        self._buffer += data
        messages: list[dict[str, Any]] = []
        while len(self._buffer) >= _HEAD:
            size = int.from_bytes(self._buffer[:_HEAD], "big")
            if size > MAX_BYTES:
                raise WireError(f"message of {size} bytes; the limit is {MAX_BYTES}")
            if len(self._buffer) < _HEAD + size:
                break
            body, self._buffer = self._buffer[_HEAD : _HEAD + size], self._buffer[_HEAD + size :]
            try:
                message = json.loads(body)
            except (ValueError, RecursionError) as error:
                raise WireError("not JSON") from error
            if not isinstance(message, dict):
                raise WireError("not a JSON object")
            messages.append(message)
        return messages
