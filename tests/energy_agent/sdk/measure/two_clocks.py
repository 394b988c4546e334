"""Boards whose energy counter and power readings tick on clocks of their own, with their truth. Independent of the product.

Power is a random sequence of levels. The counter shows its integral up to the counter's last tick; instant power the mean over
the last `window_s` before the last tick of power; the average that over a second, with the same tick. Each clock has its own
period, phase and jitter. Time is simulated, in ms.
"""

import random
from bisect import bisect_right
from itertools import accumulate


class Clock:
    """Ticks at about every `period_s`, each off by up to `jitter` of that."""

    def __init__(self, rng, period_s, jitter, until_s):
        self.at = [-rng.random() * period_s]
        while self.at[-1] < until_s:
            self.at.append(self.at[-1] + period_s * (1 + rng.uniform(-jitter, jitter)))

    def last(self, t_s):
        """The last tick up to an instant."""
        return self.at[max(0, bisect_right(self.at, t_s) - 1)]


class Board:
    """One board over `until_s`; levels hold from the first to the second of `levels_s`."""

    def __init__(
        self, rng, until_s, *, levels_s=(0.05, 0.4), counter=(0.1, 0.05), power=(0.1, 0.05), window_s=0.025, same=False
    ):
        self._rng, at, watts = rng, [-2.0], []
        while at[-1] < until_s:
            watts.append(rng.uniform(70, 110) if rng.random() < 0.3 else rng.uniform(150, 700))
            at.append(at[-1] + rng.uniform(*levels_s))
        self._at, self._watts = at, watts
        self._sums = [0.0, *accumulate(w * (b - a) for w, a, b in zip(watts, at, at[1:], strict=False))]
        self._counter = Clock(rng, *counter, until_s)
        self._power = self._counter if same else Clock(rng, *power, until_s)
        self._window_s = window_s

    def true_j(self, t_s):
        """Energy up to an instant."""
        k = min(max(0, bisect_right(self._at, t_s) - 1), len(self._watts) - 1)
        return self._sums[k] + self._watts[k] * (t_s - self._at[k])

    def read(self, t_s):
        """What a read at an instant shows: counter in J, instant power and the average over a second in W."""
        tick = self._power.last(t_s)
        instant = (self.true_j(tick) - self.true_j(tick - self._window_s)) / self._window_s
        average = self.true_j(tick) - self.true_j(tick - 1.0)
        return round(self.true_j(self._counter.last(t_s)), 3), round(instant, 3), round(average, 3)


def windows(make_tracker, make_windows, lengths_ms, count, seed, gpus=4, **board):
    """Windows of random phase on random boards: (length in ms, result of the product by device, truth in J by device).

    A first window of 2 s, from which the product may learn, is not among them.
    """
    rng = random.Random(seed)
    until_s = 8.0 + count * (max(lengths_ms) / 1e3 + 0.7)
    boards = {f"GPU-{k}": Board(rng, until_s, **board) for k in range(gpus)}
    trackers = {uuid: make_tracker() for uuid in boards}
    served, due_s, now_ms = make_windows(trackers), dict.fromkeys(boards, 0.0), 0

    def step(fine):
        nonlocal now_ms
        now_ms += 1
        now_s = now_ms / 1e3
        for uuid, tracker in trackers.items():
            if now_s >= due_s[uuid]:
                tracker.feed(now_s, now_s, *boards[uuid].read(now_s))
                due_s[uuid] = tracker.due_s(now_s, fine)
        return served.step(now_s)

    for number in range(count + 1):
        for _ in range(rng.randint(20, 300)):
            step(fine=False)
        length_ms, start_s = (lengths_ms[number % len(lengths_ms)] if number else 2000), now_ms / 1e3
        served.open(number, start_s)
        due_s = dict.fromkeys(boards, 0.0)
        for done in range(length_ms):
            step(fine=done < 1500)
        end_s = now_ms / 1e3
        served.close(number, end_s)
        while number not in step(fine=True):
            pass
        if number:
            devices = served.result(number)["devices"]
            yield length_ms, devices, {u: b.true_j(end_s) - b.true_j(start_s) for u, b in boards.items()}
