"""Tokens that the program reports for a window itself, from any number of threads."""

from threading import Lock

from energy_agent.sdk.measure.window_tokens import WindowTokens

_LOCK = Lock()


class CountedTokens:
    """What was counted so far."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._other: int | None = None
        self._prompt: int | None = None
        self._generation: int | None = None

    @property
    def tokens(self) -> int | None:
        """All of them; None where nothing was counted."""
        counts = [n for n in (self._other, self._prompt, self._generation) if n is not None]
        return sum(counts) if counts else None

    def set(self, tokens: int) -> None:
        """They are `tokens`, whatever was counted before."""
        with _LOCK:
            self._other, self._prompt, self._generation = _count(tokens), None, None

    def add(self, tokens: int | None, prompt: int | None, generation: int | None) -> None:
        """Add to each that is given; all of them or none, where one is wrong."""
        more = [None if n is None else _count(n) for n in (tokens, prompt, generation)]
        with _LOCK:
            old = (self._other, self._prompt, self._generation)
            self._other, self._prompt, self._generation = (
                was if n is None else (was or 0) + n for was, n in zip(old, more, strict=True)
            )

    def as_window_tokens(self) -> WindowTokens | None:
        """As a window's tokens."""
        if self.tokens is None:
            return None
        return WindowTokens("program", generation=self._generation, computed=self._prompt, processed=self.tokens)


def _count(value: object) -> int:
    """A whole number from 0 on, numpy's too.

    Raises:
        TypeError: it is not a whole number.
        ValueError: it is below 0.
    """
    index = getattr(value, "__index__", None)
    if isinstance(value, bool) or index is None:
        raise TypeError(f"measure: token count: expected a whole number, got {value!r}")
    number = int(index())
    if number < 0:
        raise ValueError(f"measure: token count: expected at least 0, got {number}")
    return number
