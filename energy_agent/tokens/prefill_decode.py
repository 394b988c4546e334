"""How a serving engine's joules divide into prefill and decode: regression over windows of its counters. Pure.

The energy of a window is taken for

    E = c C + s S + g G + b G^2/S + i I

with C prompt tokens computed, S engine steps, G tokens generated and I idle seconds. A step reads the weights whatever the
batch (s), each sequence in it adds its own part (g), and the cost of a step bends with its batch (b). A regression on C and G
alone gives the steps' fixed cost to whichever of the two happens to move with it, and is off by -70 to +1000 %. Prefill is c C;
idle is i I; decode is the rest, so that the three sum to the measured energy.

The interval is a delete-one-block jackknife (blocks of consecutive windows, so that a drifting load counts as what it is) plus
what the form itself gets wrong: FORM of the estimate, and SMALL of all energy, which is how far a part hides behind the others
on boards and loads whose steps do not follow the form. An estimate is absent, with its reason, without a count of steps, with
too few windows, or where its interval would be wider than WIDEST: then prompts did not vary enough to be distinguished.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.workloads.serving import Split

LEAST_WINDOWS: Final = 30
BLOCKS: Final = 10
WIDEST: Final = 0.15
FORM: Final = 0.04
SMALL: Final = 0.015
_STUDENT: Final = 2.262  # two-sided 95 % point for BLOCKS - 1 degrees of freedom
_IDLE_LEAST_S: Final = 1.0  # with less idle time its power cannot be determined, and does not matter
_FLAT: Final = 1e-10  # what is left of a column, as a share of its square, once the others explain it: below it, rounding

NO_STEPS: Final = "the engine does not count its steps"
TOO_FEW: Final = "too few windows yet"
NO_WORK: Final = "no prompt tokens or no generated tokens"
ALIKE: Final = "the load varies too little to distinguish prefill and decode"


@dataclass(frozen=True, slots=True)
class PhaseWindow:
    """Counts of one engine or group over a window, and its energy in J; `steps`: None if the engine does not count them."""

    energy_j: float
    computed: int
    generated: int
    steps: int | None
    idle_s: float


def split(windows: Sequence[PhaseWindow]) -> Split:
    """Divide the energy of windows in order of time."""
    if any(w.steps is None for w in windows):
        return Split(None, None, NO_STEPS)
    if len(windows) < LEAST_WINDOWS:
        return Split(None, None, TOO_FEW)
    computed, generated = sum(w.computed for w in windows), sum(w.generated for w in windows)
    if not computed or not generated:
        return Split(None, None, NO_WORK)
    rows = [_regressors(w) for w in windows]
    sums = _Sums.of(rows, [w.energy_j for w in windows], [computed, generated])
    whole = sums.estimate(sums)
    if whole is None:
        return Split(None, None, ALIKE)
    spread = [0.0, 0.0]
    block_sums = [_Sums.of(rows[a:b], [w.energy_j for w in windows[a:b]], sums.counts) for a, b in _blocks(len(windows))]
    without = [sums.estimate(sums.less(block)) for block in block_sums]
    if any(e is None for e in without):
        return Split(None, None, ALIKE)
    for part in (0, 1):
        estimates = [e[part] for e in without if e is not None]
        middle = sum(estimates) / BLOCKS
        spread[part] = sqrt((BLOCKS - 1) / BLOCKS * sum((x - middle) ** 2 for x in estimates))
    total = sum(w.energy_j for w in windows)
    bands = [_band(whole[p], spread[p], SMALL * total / n) for p, n in ((0, computed), (1, generated))]
    reason = "" if None not in bands else ALIKE
    return Split(bands[0], bands[1], reason, whole[2])


def _band(value: float, spread: float, small: float) -> ConfidenceInterval | None:
    half = sqrt((_STUDENT * spread) ** 2 + (FORM * value) ** 2) + small
    return ConfidenceInterval(value, value - half, value + half) if value > 0 and half <= WIDEST * value else None


def _regressors(window: PhaseWindow) -> list[float]:
    steps, generated = float(window.steps or 0), float(window.generated)
    return [float(window.computed), window.idle_s, steps, generated, generated * generated / steps if steps else 0.0]


def _blocks(n: int) -> Iterable[tuple[int, int]]:
    return [(k * n // BLOCKS, (k + 1) * n // BLOCKS) for k in range(BLOCKS)]


@dataclass(slots=True)
class _Sums:
    """Normal equations: those of a part can be taken off those of the whole."""

    matrix: list[list[float]]
    right: list[float]
    columns: list[float]
    energy: float
    counts: list[int]

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]], energies: Sequence[float], counts: list[int]) -> "_Sums":
        n = len(rows[0])
        matrix = [[sum(r[i] * r[j] for r in rows) for j in range(n)] for i in range(n)]
        right = [sum(r[i] * e for r, e in zip(rows, energies, strict=True)) for i in range(n)]
        return cls(matrix, right, [sum(r[i] for r in rows) for i in range(n)], sum(energies), counts)

    def less(self, part: "_Sums") -> "_Sums":
        """Without a part of the rows."""
        matrix = [_difference(x, y) for x, y in zip(self.matrix, part.matrix, strict=True)]
        return _Sums(matrix, _difference(self.right, part.right), self.columns, self.energy, self.counts)

    def estimate(self, by: "_Sums") -> tuple[float, float, float] | None:
        """Prefill and decode per token, and idle energy, of these rows with the coefficients of `by`."""
        wanted = [0, *([1] if self.columns[1] >= _IDLE_LEAST_S else []), 2, 3, 4]
        solution = _solve([[by.matrix[i][j] for j in wanted] for i in wanted], [by.right[i] for i in wanted])
        if solution is None:
            return None
        idle = solution[1] * self.columns[1] if 1 in wanted else 0.0
        prefill = solution[0] * self.columns[0]
        return solution[0], (self.energy - prefill - idle) / self.counts[1], idle


def _difference(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """Elimination on normal equations scaled to a unit diagonal; None where a column is empty or the others make it up."""
    n = len(right)
    scale = [sqrt(matrix[i][i]) if matrix[i][i] > 0 else 0.0 for i in range(n)]
    if not all(scale):
        return None
    rows = [[matrix[i][j] / scale[i] / scale[j] for j in range(n)] + [right[i] / scale[i]] for i in range(n)]
    for k in range(n):
        pivot = max(range(k, n), key=lambda i: abs(rows[i][k]))
        rows[k], rows[pivot] = rows[pivot], rows[k]
        if abs(rows[k][k]) < _FLAT:
            return None
        for i in range(k + 1, n):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    solution = [0.0] * n
    for k in reversed(range(n)):
        solution[k] = (rows[k][n] - sum(rows[k][j] * solution[j] for j in range(k + 1, n))) / rows[k][k]
    return [x / s for x, s in zip(solution, scale, strict=True)]
