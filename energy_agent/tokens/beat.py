"""Lets pages be read at the instant at which the devices are: what is published together then belongs together.

A load that comes in bursts makes many times its mean of tokens in a second; were tokens as much as a second younger or older
than joules, a window of a minute would be off by percents.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

PROMPT_S = 0.25
"""Who answers within half of it is waited for so long; nobody else ever delays a commit."""
_EARLY, _LATE = 0.75, 1.5  # of a period: before it a beat is not followed, after it none is waited for
_DISTRUST_S, _DISTRUST_MAX_S = (
    15.0,
    600.0,
)  # one that was waited for in vain is not waited for again so long, twice as long, ...
_FORGIVE = 0.9


@dataclass(slots=True)
class Follower:
    """What reads with the beat, every `period_s`."""

    period_s: float
    began_s: float = float("-inf")  # its last reading, monotonic
    took_s: float = float("inf")
    beat: int = -1  # with which it began
    is_reading: bool = False
    trusted_from_s: float = float("-inf")
    distrust_s: float = 0.0

    def due(self, now_s: float) -> bool:
        """A beat now is followed."""
        return now_s - self.began_s >= _EARLY * self.period_s

    def has_read(self, beat: int) -> bool:
        """Its reading of this beat is done."""
        return self.beat == beat and not self.is_reading

    def is_prompt(self, now_s: float) -> bool:
        """Whether a beat now waits for it: it is due, was fast last time, and is not still reading."""
        return not self.is_reading and self.due(now_s) and self.took_s <= PROMPT_S / 2 and now_s >= self.trusted_from_s


class Beat:
    """One strikes, any number follow."""

    def __init__(self) -> None:
        """No beat yet."""
        self._changed = threading.Condition()
        self._count = 0

    def strike(self, followers: Iterable[Follower]) -> list[Follower]:
        """Let all that are due read, and wait for those that lately answered at once, PROMPT_S at most.

        Returns those that were waited for in vain. They are not waited for again for a while.
        """
        with self._changed:
            now_s = time.monotonic()
            self._count += 1
            self._changed.notify_all()
            awaited = [f for f in followers if f.is_prompt(now_s)]
            end_s = now_s + PROMPT_S
            while not all(f.has_read(self._count) for f in awaited) and (left_s := end_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            for follower in awaited:
                if follower.has_read(self._count):
                    follower.distrust_s *= _FORGIVE
                else:
                    follower.distrust_s = min(_DISTRUST_MAX_S, max(_DISTRUST_S, 2 * follower.distrust_s))
                    follower.trusted_from_s = time.monotonic() + follower.distrust_s
            return [f for f in awaited if not f.has_read(self._count)]

    def follow(self, follower: Follower, is_stopping: Callable[[], bool]) -> None:
        """The reading under way, if any, is done: wait for the next beat that is to be followed, or until one is overdue.

        `is_stopping` ends the wait, once `wake` is called.
        """
        with self._changed:
            if follower.is_reading:
                follower.took_s, follower.is_reading = time.monotonic() - follower.began_s, False
                self._changed.notify_all()
            seen = self._count
            while not is_stopping():
                now_s = time.monotonic()
                late_s = follower.began_s + _LATE * follower.period_s - now_s
                if late_s <= 0 or (self._count != seen and follower.due(now_s)):
                    break
                seen = self._count
                self._changed.wait(late_s)
            follower.began_s, follower.beat, follower.is_reading = time.monotonic(), self._count, True

    def wake(self) -> None:
        """Let those that are to stop see it."""
        with self._changed:
            self._changed.notify_all()
