"""Readings that follow a beat: the prompt ones are waited for, the slow ones delay nobody, and without a beat all go on."""

import threading

from energy_agent.tokens.beat import PROMPT_S, Beat, Follower
from tests.support import eventually


class Reader(threading.Thread):
    """Follows a beat; reading takes until `gate` is open."""

    def __init__(self, beat: Beat, period_s: float) -> None:
        super().__init__(daemon=True)
        self.beat, self.follower, self.stop, self.gate = beat, Follower(period_s), threading.Event(), threading.Event()
        self.gate.set()
        self.beats: list[int] = []

    def run(self) -> None:
        self.beat.follow(self.follower, self.stop.is_set)
        while not self.stop.is_set():
            self.gate.wait(300)
            self.beats.append(self.follower.beat)
            self.beat.follow(self.follower, self.stop.is_set)

    def has_read(self) -> bool:
        return bool(self.beats) and not self.follower.is_reading

    def end(self) -> None:
        self.stop.set()
        self.gate.set()
        self.beat.wake()
        self.join(60)
        assert not self.is_alive()


def test_a_prompt_reader_has_read_when_the_beat_returns() -> None:
    beat = Beat()
    reader = Reader(beat, 60.0)  # its first reading comes at once, the next by the beat alone
    reader.start()
    eventually(reader.has_read)
    reader.follower.began_s -= 60 * 0.8
    reader.follower.took_s = 0.0
    beat.strike([reader.follower])
    eventually(lambda: reader.beats[-1] == 1)
    reader.end()


def test_a_slow_reader_is_not_waited_for() -> None:
    beat = Beat()
    follower = Follower(1.0, began_s=float("-inf"), took_s=PROMPT_S)
    beat.strike([follower])  # nobody reads: it would wait here without end, were it waited for without a limit
    assert follower.beat == -1


def test_hung_reader_is_waited_for_once() -> None:
    beat = Beat()
    reader = Reader(beat, 60.0)
    reader.start()
    eventually(reader.has_read)
    reader.gate.clear()
    reader.follower.began_s -= 60 * 0.8
    reader.follower.took_s = 0.0
    assert beat.strike([reader.follower]) == [reader.follower]
    assert reader.beats == [0]
    reader.follower.began_s -= 60 * 0.8  # due again, and still reading
    assert beat.strike([reader.follower]) == []
    reader.end()


def test_reader_that_was_waited_for_in_vain_is_not_trusted_for_longer_each_time() -> None:
    beat, follower = Beat(), Follower(1.0, took_s=0.0)
    assert beat.strike([follower]) == [follower]  # nobody reads
    assert beat.strike([follower]) == [], "not again at once"
    first_s = follower.distrust_s
    follower.trusted_from_s = 0.0
    assert beat.strike([follower]) == [follower]
    assert follower.distrust_s == 2 * first_s


def test_a_beat_too_early_is_not_followed_and_one_that_never_comes_is_not_waited_for() -> None:
    beat = Beat()
    reader = Reader(beat, 0.2)
    reader.start()
    eventually(lambda: len(reader.beats) >= 3)  # without any beat
    reader.end()
    early = Reader(beat, 60.0)
    early.start()
    eventually(early.has_read)
    for _ in range(20):
        beat.strike([early.follower])
    assert len(early.beats) == 1
    early.end()
