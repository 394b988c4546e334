"""Run a command without a shell, with a time limit and an output limit."""

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from energy_agent.core.text import printable

_CHUNK_B = 64 * 1024
_SAID = 200
KILL_S = 1.0
"""How long is waited for a killed program: one that is not gone by then hangs in the kernel."""
UNKILLED_MAX = 2
Process = subprocess.Popen[bytes]


class CommandError(OSError):
    """It failed; one line. `code` is its exit status where it ended by itself."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def output_of(
    command: Sequence[str], seconds: float, most_b: int, environ: Mapping[str, str], unkilled: list[Process] | None = None
) -> bytes:
    """What it writes.

    Args:
        command: its absolute path, and its arguments.
        seconds: after which it is ended.
        most_b: bytes after which it is ended.
        environ: its whole environment.
        unkilled: the caller's programs that not even SIGKILL has ended; with two of them no other is started.

    Raises:
        CommandError: it cannot run, ended with an error, or exceeded a bound.
    """
    name = os.path.basename(command[0])  # noqa: PTH119 - a text, no file
    unkilled = [] if unkilled is None else unkilled
    unkilled[:] = [stuck for stuck in unkilled if stuck.poll() is None]
    if len(unkilled) >= UNKILLED_MAX:
        raise CommandError(f"{name}: not started, because {len(unkilled)} earlier programs hang and cannot be killed")
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environ),
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the agent
        )
    except OSError as error:
        raise CommandError(f"{command[0]}: {error.strerror}") from None
    end_s = time.monotonic() + seconds
    try:
        output, errors = _read(process, end_s, most_b, name, seconds)
        code = process.wait(max(0.0, end_s - time.monotonic()))  # it may have closed its output and go on
    except subprocess.TimeoutExpired:
        raise CommandError(f"{name} did not end within {seconds:g} s") from None
    finally:
        with suppress(OSError):
            process.kill()
        try:
            process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            unkilled.append(process)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if code:
        text = " ".join((errors or output).decode(errors="replace").split())
        raise CommandError(f"{name}: {printable(text)[:_SAID] or f'exited with status {code}'}", code)
    return output


def _read(process: Process, end_s: float, most_b: int, name: str, seconds: float) -> tuple[bytes, bytes]:
    kept = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            assert stream is not None  # they are pipes
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, end_s - time.monotonic()))
            if not ready or time.monotonic() > end_s:
                raise CommandError(f"{name} did not respond within {seconds:g} s")
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK_B)
                if not data:
                    selector.unregister(key.fileobj)
                elif len(kept[key.fileobj]) + len(data) > most_b:  # type: ignore[index]
                    raise CommandError(f"{name} wrote more than {most_b} bytes")
                else:
                    kept[key.fileobj] += data  # type: ignore[index]
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])
