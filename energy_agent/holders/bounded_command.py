"""Runs a program without a shell, within a time and a size: what a scheduler's own commands need that may hang or never end."""

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

_CHUNK_B = 64 * 1024
_SAID = 200


class CommandError(OSError):
    """It failed; one line. `code` is its exit status where it ended by itself."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def output_of(command: Sequence[str], seconds: float, most_b: int, environ: Mapping[str, str]) -> bytes:
    """What it writes.

    Args:
        command: its absolute path, and its arguments.
        seconds: after which it is ended.
        most_b: bytes after which it is ended.
        environ: its whole environment.

    Raises:
        CommandError: it cannot run, ended with an error, or exceeded a bound.
    """
    name = os.path.basename(command[0])  # noqa: PTH119 - a text, no file
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environ), cwd="/"
        )
    except OSError as error:
        raise CommandError(f"{command[0]}: {error.strerror}") from None
    try:
        told, said = _read(process, time.monotonic() + seconds, most_b, name, seconds)
        code = process.wait()
    finally:
        with suppress(OSError):
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if code:
        text = " ".join((said or told).decode(errors="replace").split())
        raise CommandError(
            f"{name}: {''.join(c if c.isprintable() else '?' for c in text)[:_SAID] or f'it ended with {code}'}", code
        )
    return told


def _read(process: "subprocess.Popen[bytes]", end_s: float, most_b: int, name: str, seconds: float) -> tuple[bytes, bytes]:
    kept = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            assert stream is not None  # they are pipes
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, end_s - time.monotonic()))
            if not ready or time.monotonic() > end_s:
                raise CommandError(f"{name} did not answer within {seconds:g} s")
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK_B)
                if not data:
                    selector.unregister(key.fileobj)
                elif len(kept[key.fileobj]) + len(data) > most_b:  # type: ignore[index]
                    raise CommandError(f"{name} wrote more than {most_b} bytes")
                else:
                    kept[key.fileobj] += data  # type: ignore[index]
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])
