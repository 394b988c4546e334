"""The terminal of `wattlens top`: full screen, keys one by one, and restored whatever happens."""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from wattlens.top.text import Line

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"
STYLES = {
    "bold": "1", "title": "7", "head": "1;4", "selected": "7", "warn": "33", "bad": "1;31", "dim": "2",
    "low": "32", "mid": "33", "high": "31",
}  # fmt: skip
_PLAIN = {"bold": "1", "title": "7", "head": "4", "selected": "7", "bad": "1"}  # $NO_COLOR
_KEYS = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", "k": "up", "j": "down", "\x1b[5~": "page_up",
    "\x1b[6~": "page_down", "\x1b[H": "home", "\x1b[F": "end", "\x1bOH": "home", "\x1bOF": "end", "\x1b[1~": "home",
    "\x1b[4~": "end", "\x03": "q", "\r": "enter", "\n": "enter", "\t": "tab", "\x1b[Z": "back_tab",
}  # fmt: skip
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def has_unicode() -> bool:
    """Whether the terminal shows block characters, by the locale that the user chose for it."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "")
    return "utf-8" in locale.lower() or "utf8" in locale.lower()


def can_style() -> bool:
    """Whether standard output is a terminal that understands colours and cursor movements."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")


def can_draw() -> bool:
    """Whether there is such a terminal at both ends."""
    return sys.stdin.isatty() and can_style()


def style_line(line: Line) -> str:
    """The line with the terminal's codes for its styles."""
    codes = _PLAIN if os.environ.get("NO_COLOR") else STYLES
    return "".join(f"\x1b[{codes[style]}m{text}\x1b[0m" if codes.get(style) else text for style, text in line)


class FullScreen:
    """A context: inside it the terminal is ours. `wait` returns keys; `stopping` is True after a signal to end."""

    def __init__(self) -> None:
        self.stopping = False
        self._out, self._in = sys.stdout.fileno(), sys.stdin.fileno()
        self._old_mode: list[Any] = []
        self._old_handlers: dict[int, Any] = {}
        self._bell_r, self._bell_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = ""
        self._drawn: list[str] = []
        self._size = (0, 0)

    def __enter__(self) -> Self:
        self._old_mode = termios.tcgetattr(self._in)
        try:
            for number in (*_ENDS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
                self._old_handlers[number] = signal.signal(number, self._on_signal)
            self._enter()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def size(self) -> tuple[int, int]:
        """Columns and lines now; 80x24 where the terminal does not know."""
        try:
            columns, lines = os.get_terminal_size(self._out)
        except OSError:
            columns, lines = 0, 0
        return columns or 80, lines or 24

    def ring(self) -> None:
        """End the present `wait`; may be called from another thread."""
        try:
            os.write(self._bell_w, b"!")
        except (BlockingIOError, OSError):
            return  # it rings already, or is over

    def wait(self, seconds: float) -> list[str]:
        """Keys that were pressed within `seconds`; returns at once with them, on a signal and on `ring`."""
        ready, _, _ = select.select([self._in, self._bell_r], [], [], max(0.0, seconds))
        if self._bell_r in ready:
            os.read(self._bell_r, 4096)
        if self._in not in ready:
            return []
        data = os.read(self._in, 1024)
        if not data:  # the terminal is gone
            self.stopping = True
        return self._keys(data.decode("utf-8", "replace"))

    def show(self, lines: Sequence[Line]) -> None:
        """Draw a frame: only the lines that changed, in one write, so that nothing flickers over a slow link."""
        size = self.size()
        texts = [style_line(line) for line in lines]
        if size != self._size:
            self._size, self._drawn = size, []
        out = "" if self._drawn else "\x1b[2J"
        for n, text in enumerate(texts):
            if n >= len(self._drawn) or self._drawn[n] != text:
                out += f"\x1b[{n + 1};1H\x1b[0m\x1b[2K{text}"
        for n in range(len(texts), len(self._drawn)):
            out += f"\x1b[{n + 1};1H\x1b[0m\x1b[2K"
        self._drawn = texts
        self._write(out)

    def _keys(self, data: str) -> list[str]:
        text, keys = self._rest + data, []
        self._rest = ""
        while text:
            if text[0] != "\x1b":
                keys.append(_KEYS.get(text[0], text[0]))
                text = text[1:]
                continue
            name = next((s for s in _KEYS if len(s) > 1 and text.startswith(s)), "")
            if name:
                keys.append(_KEYS[name])
                text = text[len(name) :]
            elif any(s.startswith(text) for s in _KEYS) and len(text) > 1:
                self._rest, text = text, ""  # the rest comes with the next read
            elif len(text) == 1 or text[1] == "\x1b":
                keys.append("escape")
                text = text[1:]
            else:
                text = text.lstrip("\x1b[O")[1:]  # a key without a meaning here
        return keys

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number in _ENDS:
            self.stopping = True
        elif number == signal.SIGTSTP:  # Ctrl-Z: the shell gets its terminal, and we ours when it calls us back
            self._release()
            os.kill(os.getpid(), signal.SIGSTOP)
        elif number == signal.SIGCONT:
            self._enter()
        self._drawn = []
        self.ring()

    def _enter(self) -> None:
        tty.setcbreak(self._in, termios.TCSADRAIN)
        self._drawn = []
        self._write(_ENTER)

    def _release(self) -> None:
        try:
            self._write(_LEAVE)
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._old_mode)
        except (OSError, termios.error):
            return  # the terminal is gone

    def _restore(self) -> None:
        self._release()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        os.close(self._bell_r)
        os.close(self._bell_w)

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._out, data) :]
