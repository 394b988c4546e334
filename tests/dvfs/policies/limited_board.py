"""A GPU at its power limit under saturating work: step time and power by clock lock and power limit. Pure.

A kernel that saturates the board draws, at clock f,

    P(f) = p0 + b * f * V(f)^2,   V(f) = 1 + s * max(0, f - knee)

and a step takes (m * max(1, knee / f) + (1 - m) * f_max / f) of its time at the highest clock. While P(lock) is within the
limit, the board runs at the lock. Otherwise its limiter moves the clock up and down so that the mean power is the limit.
Since P is convex, that clock has a lower mean than the constant clock F with P(F) = limit. The mean clock f solves

    P(f) = (1 - w * min(1, (lock / F - 1) / swing)) * limit

where w is the waste: the share of power that a lock at the mean clock saves at the same speed. A lock that is nearer to F than
`swing` cuts the upper part of the movement, and with it the waste. An H100 of 500 W that ran GEMM had w = 0.075; boards
differ, so w is drawn for each.
"""

from dataclasses import dataclass, replace
from random import Random

SW_POWER_CAP = 0x4  # clock-event reason of NVML

RANGES = {
    "p0_w": (48.0, 90.0),  # static power [fitted: 52.8 to 82.9 on A100, H100, H200 and A40]
    "b_w_per_mhz": (0.13, 0.25),  # [fitted: 0.133 to 0.242 on the same]
    "knee_ratio": (0.50, 0.72),  # of f_max, where the voltage starts to rise [fitted: 0.51 to 0.72 on the same]
    "voltage_rise": (0.25, 0.60),  # of V from the knee to f_max [assumed: 0.26 was seen on an A100, short of f_max]
    "f_max_mhz": (1410, 2400),  # [measured: A100 to RTX PRO 6000]
    "limit_ratio": (0.55, 1.15),  # limit over P(f_max): above 1 the limiter never acts [assumed]
    "waste_ratio": (0.0, 0.10),  # [measured: 0.075 on one H100; the range is assumed]
    "swing_ratio": (0.02, 0.08),  # of the clock under the limiter [assumed]
    "boundness": (0.0, 0.15),  # m of saturating work [measured: 0.02 to 0.10 for prefill; the range is assumed]
    "step_s": (0.1, 2.0),  # at f_max [assumed]
    "time_noise": (0.002, 0.02),  # standard deviation of a step's time, relative [assumed]
    "power_noise": (0.002, 0.02),  # standard deviation of a reading of power, relative [assumed]
}
"""Uniform ranges that `draw_board` draws from, with the basis of each."""


@dataclass(frozen=True, slots=True)
class SaturatedRun:
    """Mean state of the board under a lock and a limit: clock, power, step time, and whether the limiter acts."""

    clock_mhz: float
    power_w: float
    step_s: float
    is_limited: bool

    @property
    def step_j(self) -> float:
        """Energy of a step."""
        return self.power_w * self.step_s


@dataclass(frozen=True, slots=True)
class LimitedBoard:
    """A board and its saturating work; see the module for the formulas and `RANGES` for meaning and basis of each value."""

    p0_w: float
    b_w_per_mhz: float
    knee_mhz: float
    s_per_mhz: float
    f_max_mhz: int
    limit_w: float
    waste_ratio: float
    swing_ratio: float = 0.05
    boundness: float = 0.05
    step_s: float = 0.5
    time_noise: float = 0.01
    power_noise: float = 0.01
    f_min_mhz: int = 210
    f_step_mhz: int = 15

    def drawn_w(self, mhz: float) -> float:
        """Power at a constant clock, without a limit."""
        volts = 1.0 + self.s_per_mhz * max(0.0, mhz - self.knee_mhz)
        return self.p0_w + self.b_w_per_mhz * mhz * volts * volts

    def clock_at(self, power_w: float) -> float:
        """The constant clock that draws this power, within the board's range."""
        low, high = float(self.f_min_mhz), float(self.f_max_mhz)
        if self.drawn_w(high) <= power_w:
            return high
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.drawn_w(middle) <= power_w else (low, middle)
        return low

    def run(self, lock_mhz: float | None = None, limit_w: float | None = None) -> SaturatedRun:
        """The state under a clock lock and a power limit; None: the highest clock, the board's own limit."""
        top = float(self.f_max_mhz if lock_mhz is None else max(self.f_min_mhz, min(lock_mhz, self.f_max_mhz)))
        limit = self.limit_w if limit_w is None else limit_w
        if self.drawn_w(top) <= limit:
            return SaturatedRun(top, self.drawn_w(top), self._step_s(top), False)
        free = self.clock_at(limit)
        waste = self.waste_ratio * min(1.0, (top / free - 1.0) / self.swing_ratio)
        mhz = self.clock_at((1.0 - waste) * limit)
        return SaturatedRun(mhz, max(limit, self.drawn_w(mhz)), self._step_s(mhz), True)

    def _step_s(self, mhz: float) -> float:
        memory = max(1.0, self.knee_mhz / mhz)
        return self.step_s * (self.boundness * memory + (1.0 - self.boundness) * self.f_max_mhz / mhz)


def draw_board(seed: int | str, waste_ratio: float | None = None) -> LimitedBoard:
    """A board drawn from `RANGES`; with a given waste, everything else is the same as without."""
    random = Random(f"limited board {seed}")
    value = {name: random.uniform(low, high) for name, (low, high) in RANGES.items()}
    f_max = round(value["f_max_mhz"] / 15) * 15
    knee = value["knee_ratio"] * f_max
    board = LimitedBoard(
        value["p0_w"],
        value["b_w_per_mhz"],
        knee,
        value["voltage_rise"] / (f_max - knee),
        f_max,
        limit_w=0.0,
        waste_ratio=value["waste_ratio"] if waste_ratio is None else waste_ratio,
        swing_ratio=value["swing_ratio"],
        boundness=value["boundness"],
        step_s=value["step_s"],
        time_noise=value["time_noise"],
        power_noise=value["power_noise"],
    )
    return replace(board, limit_w=value["limit_ratio"] * board.drawn_w(f_max))


class SaturatedPlant:
    """A board that runs saturating work without end. Set `lock_mhz` and `limit_w`, `advance`, and read the counters."""

    def __init__(self, board: LimitedBoard, seed: int | str = 0) -> None:
        self.board = board
        self.lock_mhz: float | None = None
        self.limit_w: float | None = None
        self.now_s = self.energy_j = self.last_step_s = 0.0
        self.steps = 0
        self._random = Random(f"saturated plant {seed}")
        self._step_remainder = 1.0  # of the current step

    def advance(self, seconds: float) -> SaturatedRun:
        """Let time pass; `last_step_s` is the time at which the last of `steps` ended. Returns the mean state."""
        state, end = self.board.run(self.lock_mhz, self.limit_w), self.now_s + seconds
        while self.now_s < end:
            took = min(self._step_remainder * state.step_s, end - self.now_s)
            self.energy_j += took * state.power_w
            self.now_s += took
            self._step_remainder -= took / state.step_s
            if self._step_remainder <= 1e-9:
                self.steps += 1
                self.last_step_s = self.now_s
                self._step_remainder = max(0.2, 1.0 + self._random.gauss(0.0, self.board.time_noise))
        return state

    def reading(self) -> tuple[int, int, int]:
        """Clock in MHz, power in mW and clock-event reasons, as NVML reports them now."""
        state = self.board.run(self.lock_mhz, self.limit_w)
        move = self._random.uniform(-1.0, 1.0) * self.board.swing_ratio * state.clock_mhz if state.is_limited else 0.0
        step = self.board.f_step_mhz
        power_w = state.power_w * max(0.2, 1.0 + self._random.gauss(0.0, self.board.power_noise))
        top = self.board.f_max_mhz if self.lock_mhz is None else self.lock_mhz
        mhz = min(top, round((state.clock_mhz + move) / step) * step)
        return round(mhz), round(1e3 * power_w), SW_POWER_CAP if state.is_limited else 0
