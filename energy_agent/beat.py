"""Lets pages be read at the instant at which the devices are: what is published together then belongs together.

A load that comes in bursts makes many times its mean of tokens in a second; were tokens as much as a second younger or older
than joules, a window of a minute would be off by percents.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

PROMPT_S = 0.25
"""Who answers within half of it is waited for so long; nobody else ever delays a commit."""
_EARLY, _LATE = 0.75, 1.5  # of a period: before it a beat is not followed, after it none is waited for


@dataclass(slots=True)
class Follower:
    """What reads with the beat, every `period_s`."""

    period_s: float
    began_s: float = float("-inf")  # its last reading, monotonic
    took_s: float = float("inf")
    beat: int = -1  # with which it was taken

    def due(self, now_s: float) -> bool:
        """A beat now is followed."""
        return now_s - self.began_s >= _EARLY * self.period_s


class Beat:
    """One strikes, any number follow."""

    def __init__(self) -> None:
        """No beat yet."""
        self._changed = threading.Condition()
        self._count = 0

    def strike(self, followers: Iterable[Follower]) -> None:
        """Let all that are due read, and wait for those that lately answered at once, PROMPT_S at most."""
        with self._changed:
            now_s = time.monotonic()
            self._count += 1
            self._changed.notify_all()
            awaited = [f for f in followers if f.due(now_s) and f.took_s <= PROMPT_S / 2]
            end_s = now_s + PROMPT_S
            while any(f.beat != self._count for f in awaited) and (left_s := end_s - time.monotonic()) > 0:
                self._changed.wait(left_s)

    def follow(self, follower: Follower, stop: threading.Event) -> int:
        """Wait for the next beat that is to be followed, or until one is overdue; returns the beat.

        `stop` ends the wait, once `wake` is called.
        """
        with self._changed:
            seen = self._count
            while not stop.is_set():
                now_s = time.monotonic()
                late_s = follower.began_s + _LATE * follower.period_s - now_s
                if late_s <= 0 or (self._count != seen and follower.due(now_s)):
                    break
                seen = self._count
                self._changed.wait(late_s)
            follower.began_s = time.monotonic()
            return self._count

    def done(self, follower: Follower, beat: int) -> None:
        """The follower has read, or could not."""
        with self._changed:
            follower.took_s, follower.beat = time.monotonic() - follower.began_s, beat
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those whose `stop` was set see it."""
        with self._changed:
            self._changed.notify_all()
