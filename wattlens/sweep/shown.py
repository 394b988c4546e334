"""A sweep for people: where it stands, on standard error, and what it found, as a table. Text alone."""

import sys
from collections.abc import Sequence

from dvfs.sweep.profile import Key, SettingEstimate, SweepProfile
from energy_agent.core.interval import ConfidenceInterval
from wattlens.terminal_line import Line


def name_of(key: Key) -> str:
    """A setting in words."""
    clock, limit = key
    parts = [] if clock is None else [f"{clock} MHz"]
    parts += [] if limit is None else [f"{limit:g} W"]
    return ", ".join(parts) or "original"


def duration(seconds: float) -> str:
    """Short: 45 s, 12 min, 1 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


class SweepProgress:
    """Progress of a sweep: one redrawn line on a terminal; elsewhere, or next to a program's output, a line per interval."""

    def __init__(self, in_place: bool) -> None:
        """`in_place`: redraw the last line."""
        self._in_place, self._line = in_place, Line(in_place)

    def at(self, number: int, of: int, key: Key, left_s: float) -> None:
        """Draw that interval `number` of about `of` is in progress."""
        self._line.draw(f"interval {number} of {of}: {name_of(key)}; {duration(left_s)} left")

    def finish(self, number: int, of: int, key: Key, left_s: float, text: str) -> None:
        """Print the result of interval `number`."""
        if not self._in_place:
            self.say(f"interval {number} of {of}: {name_of(key)}: {text}; {duration(left_s)} left")

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()


HEADS = ("SETTING", "N", "TIME", "POWER", "ENERGY", "SLOWDOWN", "SAVING", "BOUND BY")


def rows(profile: SweepProfile) -> list[tuple[str, ...]]:
    """Return the table: one row per setting, the original setting first, each quantity with its 95 % interval."""
    unit = _unit(profile)
    heads = (*HEADS[:2], f"TIME/{unit.upper()}", HEADS[3], f"ENERGY/{unit.upper()}", *HEADS[5:])
    return [heads, *(_row(point) for point in profile.points)]


def _unit(profile: SweepProfile) -> str:
    return profile.work.removesuffix("s") if profile.work in ("steps", "tokens") else "unit"


def _row(point: SettingEstimate) -> tuple[str, ...]:
    return (
        name_of(point.key),
        str(point.n),
        f"{_si(point.time_s, 's')} {_half(point.time_s, point.time_high_s)}",
        f"{point.power_w:.1f} W {_half(point.power_w, point.power_high_w)}",
        _si(point.time_s * point.power_w, "J"),
        "-" if point.slowdown is None else _share(point.slowdown),
        "-" if point.saving is None else _share(point.saving),
        ", ".join(point.binding) or "-",
    )


def _half(value: float, high: float) -> str:
    return f"±{100 * (high / value - 1):.1f} %"


def _share(ratio: ConfidenceInterval) -> str:
    return f"{100 * ratio.value:.1f} % ({100 * ratio.low:.1f} to {100 * ratio.high:.1f})"


def _si(value: float, unit: str) -> str:
    for scale, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "u")):
        if value >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def summary(profile: SweepProfile, budgets: Sequence[float] = (0.03, 0.05, 0.10)) -> list[str]:
    """What to take from it: the least energy, and the least within some slowdowns, by the intervals' safe ends."""
    lines = []
    tried = [(point, point.slowdown, point.saving) for point in profile.points]
    compared = [(point, slowdown, saving) for point, slowdown, saving in tried if slowdown is not None and saving is not None]
    for budget in budgets:
        within = [(point, saving) for point, slowdown, saving in compared if slowdown.high <= budget and saving.low > 0]
        best = max(within, key=lambda each: each[1].value, default=None)
        if best is not None:
            saves = f"{name_of(best[0].key)} saves {_share(best[1])} of the energy per {_unit(profile)}"
            lines.append(f"Within {100 * budget:g} % slowdown: {saves}")
    if not compared:
        lines.append("No setting has an interval yet: each needs two measurements.")
    return lines
