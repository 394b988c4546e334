"""Numbers to play out what may come: the same ones each time, so that the same observations get the same decisions. Pure."""

from collections.abc import Iterator
from functools import lru_cache

_MANY = 4096


@lru_cache(maxsize=1)
def _numbers() -> tuple[float, ...]:
    """Between 0 and 1, without a pattern that matters here (a linear congruential generator)."""
    numbers, seed = [], 12345
    for _ in range(_MANY):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        numbers.append(((seed >> 8) + 0.5) / 0x800000)
    return tuple(numbers)


def draw_numbers(start: int) -> Iterator[float]:
    """Yield pseudo-random numbers from `start` on, without end."""
    numbers, place = _numbers(), start % _MANY
    while True:
        yield numbers[place]
        place = (place + 1) % _MANY
