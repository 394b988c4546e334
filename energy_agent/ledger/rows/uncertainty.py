"""How the errors of metered energy add up. Pure, integers only.

Two kinds of error. The *edge* part: an interval is the difference of two counter readings, each up to one tick old; between two
intervals that share a reading the error is the same number with opposite signs and cancels, so a contiguous interval keeps only
its outermost edges. The *systematic* part: the gain of a board's sensor is off by an unknown but fixed ratio, so it grows with
energy, adds linearly over cells and boards, and is never divided by the square root of their number. Energy that no sensor saw
(gaps) can only raise the truth: it is in the upper bound alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

_PPM: Final = 1_000_000
SHARE_UNKNOWN: Final = 0
"""`EdgeRun.last_ppm` of an owner's run that was read from a segment: shares are not stored there."""


@dataclass(frozen=True, slots=True)
class EdgeRun:
    """An interval of metering over [start_ns, end_ns) and the edge errors that are left of it, in uJ.

    Args:
        first_uj: bound of the error at its start; 0 where nothing there can cancel (integrated power).
        inner_uj: bound of what did not cancel in between.
        last_uj: bound of the error at its end.
        last_ppm: the holder's share of the device at its end; decides how much cancels with what follows.
    """

    start_ns: int
    end_ns: int
    first_uj: int
    inner_uj: int
    last_uj: int
    last_ppm: int = _PPM

    @property
    def bound_uj(self) -> int:
        """Bound of the edge error of the whole run."""
        return self.first_uj + self.inner_uj + self.last_uj


def follow(run: EdgeRun, piece: EdgeRun) -> EdgeRun:
    """`run` with `piece` added; where they share a reading, its error cancels as far as the holder's share stayed the same.

    A piece that does not come after `run` (late data) shares no reading for certain: nothing of it cancels.
    """
    if piece.start_ns < run.end_ns:
        earlier = piece.start_ns < run.start_ns
        return replace(
            run,
            start_ns=min(run.start_ns, piece.start_ns),
            end_ns=max(run.end_ns, piece.end_ns),
            first_uj=piece.first_uj if earlier else run.first_uj,
            inner_uj=run.inner_uj + piece.inner_uj + piece.last_uj + (run.first_uj if earlier else piece.first_uj),
        )
    residual_uj = _left_over(run, piece) if piece.start_ns == run.end_ns else run.last_uj + piece.first_uj
    return EdgeRun(
        run.start_ns, piece.end_ns, run.first_uj, run.inner_uj + residual_uj + piece.inner_uj, piece.last_uj, piece.last_ppm
    )


def _left_over(run: EdgeRun, piece: EdgeRun) -> int:
    """What is left of the error e of a shared reading: |w1 - w2| x |e|; each side's bound is its share w x a bound of |e|."""
    a, b = run.last_uj, piece.first_uj
    if not a or not b:
        return a + b  # one side does not depend on that reading: nothing cancels
    if SHARE_UNKNOWN in (run.last_ppm, piece.last_ppm):
        return 0 if a == b else max(a, b)  # equal: the same interval, cut; else no more than the larger side is left
    if run.last_ppm == piece.last_ppm == _PPM:
        return 0
    # A share is stored as whole ppm, and its bound is rounded to whole uJ: what that hides of a change is added.
    difference = abs(run.last_ppm - piece.last_ppm) + 1
    smallest = min(a * _PPM // run.last_ppm, b * _PPM // piece.last_ppm) + 1
    return min(a + b, -(-difference * smallest // _PPM) + 2)


def bound_of(runs: Iterable[EdgeRun]) -> int:
    """Edge bound in uJ of several runs of the same thing, in any order; neighbours that share a reading cancel."""
    total: EdgeRun | None = None
    for run in sorted(runs, key=lambda r: (r.start_ns, r.end_ns)):
        total = run if total is None else follow(total, run)
    return 0 if total is None else total.bound_uj


@dataclass(frozen=True, slots=True)
class Bounds:
    """Energy in uJ with its bounds; `high_uj` has the gap bound in it, `low_uj` has not."""

    energy_uj: int
    low_uj: int
    high_uj: int
    systematic_uj: int
    edge_uj: int
    gap_bound_uj: int


def systematic_uj(energy_uj: int, gain_ppm: int) -> int:
    """Bound of the gain error: measured m = true x (1 + g), |g| <= gain, so |m - true| <= m x gain / (1 - gain); rounded up.

    Raises:
        ValueError: a gain of 100 % or more says nothing.
    """
    if not 0 <= gain_ppm < _PPM:
        raise ValueError(f"gain uncertainty: expected 0 to 1, got {gain_ppm} ppm")
    return -(-energy_uj * gain_ppm // (_PPM - gain_ppm))


def combine(
    energy_uj: Mapping[str, int],
    gain_ppm: Mapping[str, int],
    runs: Iterable[Iterable[EdgeRun]],
    gap_bounds_uj: Iterable[int] = (),
) -> Bounds:
    """Bounds of a sum of energy.

    Args:
        energy_uj: energy by device.
        gain_ppm: gain uncertainty of every one of these devices.
        runs: one series of runs for each thing that is summed (a device, or one owner on one device); cells for a single row.
        gap_bounds_uj: bounds of what no sensor saw.

    Raises:
        KeyError: a device without its gain uncertainty: no number without its error.
    """
    energy = sum(energy_uj.values())
    systematic = sum(systematic_uj(uj, gain_ppm[device]) for device, uj in energy_uj.items())
    edge = sum(bound_of(series) for series in runs)
    gaps = sum(gap_bounds_uj)
    return Bounds(energy, max(0, energy - systematic - edge), energy + systematic + edge + gaps, systematic, edge, gaps)
