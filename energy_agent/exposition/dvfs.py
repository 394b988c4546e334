"""Samples of the steering of one device. Pure."""

from collections.abc import Iterator, Mapping

from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import DvfsDevice
from energy_agent.core.units import UJ_PER_J, decimal

_MODES = ("observe", "shadow", "enforce")
_MILLI = 1000


def samples(view: DvfsDevice) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    """Yield (name, labels after those of the GPU, value), with the value None for an absent sample."""
    for mode in _MODES:
        yield "dvfs_mode", (mode,), "1" if mode == view.mode else "0"
    if view.facts:
        yield "dvfs_group_info", tuple(view.facts.get(name, "") for name in ("group", "workload", "policy")), "1"
    if view.exempt is not None:
        yield "dvfs_exempt_info", view.exempt, "1"
    yield "dvfs_lease_active", (), "1" if view.lease_active else "0"
    yield from _limits("dvfs", view.setting)
    yield from _limits("dvfs_requested", view.wanted)
    for (policy, action, reason), count in view.decisions.items():
        yield "dvfs_decisions_total", (policy, action, reason), str(count)
    for reason, count in view.ineffective.items():
        yield "dvfs_ineffective_total", (reason,), str(count)
    yield "dvfs_saved_joules", (), _joules(view.saved_uj)
    yield "dvfs_extra_joules", (), _joules(view.extra_uj)
    yield from _measured("dvfs_predicted_saving_ratio", (), view.predicted)
    yield from _measured("dvfs_proven_saving_ratio", (), view.saving)
    yield from _measured("dvfs_slowdown_ratio", (view.slowdown_of,), view.slowdown)
    if view.slowdown_ratio is not None and view.facts:
        yield "dvfs_slowdown_budget_ratio", (), f"{view.slowdown_ratio:.4f}"


def _measured(
    name: str, labels: tuple[str, ...], told: ConfidenceInterval | None
) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    if told is not None:
        for end, value in (("", told.value), ("_lower", told.low), ("_upper", told.high)):
            yield name + end, labels, f"{value:.4f}"


def _limits(prefix: str, settings: Mapping[str, int]) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    clock, power = settings.get("sm_clock_max_hertz"), settings.get("power_limit_milliwatts")
    yield f"{prefix}_clock_limit_hertz", (), None if clock is None else str(clock)
    yield f"{prefix}_power_limit_watts", (), None if power is None else decimal(power, _MILLI)


def _joules(uj: int | None) -> str | None:
    return None if uj is None else decimal(uj, UJ_PER_J)
