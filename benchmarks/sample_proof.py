"""Savings of the sample fleet: rows of the product's own experiments, fed with counters of a simulated group.

The plant uses whole numbers, so its counters are the same on any machine: the setting lowers power and speed by fixed ratios,
and the load changes slightly every 20 s. The true saving is known, so the sample can be checked against it.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from dvfs.proof.experiment import EnergyReading, Experiment, ExperimentState, Round, Subject, WorkReading
from dvfs.proof.plan import ExperimentPlan
from energy_agent.core.proof import ProofRow
from energy_agent.core.units import NS_PER_S

PLAN: Final = ExperimentPlan(0, None, 30.0, 4.0, 270.0)
"""As configured by default, but for the draws."""
_PPM: Final = 1_000_000
_ROUND_S, _IDLE_ROUND_S = 1, 30  # a look takes longer only while no block is measured
_LATER_NS: Final = 3600 * NS_PER_S  # an agent ends the experiment of a group that is gone so long after it


class SampleExperiment(NamedTuple):
    """A steered group, and the effect of steering."""

    group: str
    workload: str
    policy: str
    devices: tuple[str, ...]
    days: tuple[int, int]  # first of the sample, and the one after the last; `every` n-th of them
    every: int
    hours: tuple[int, int]  # of the day (UTC) in which it is steered
    watts: int  # that a GPU draws without the setting
    less_ppm: int  # of that power with it
    work_ppm: int  # steps or tokens per second without it, in millionths
    slower_ppm: int  # of that rate with it; open arrivals are unchanged
    wait_us: int  # time between two tokens without it; 0: it trains
    setting: str

    def is_steered_on(self, day: int) -> bool:
        """Whether it is on a day of the sample."""
        return self.days[0] <= day < self.days[1] and day % self.every == 0

    def times_ns(self, first_ns: int, day: int) -> tuple[int, int]:
        """When it is steered on a day, UTC; set and put back some seconds after the hour."""
        day_ns = first_ns + day * 86_400 * NS_PER_S
        start_ns, end_ns = (day_ns + (hour * 3600 + 5) * NS_PER_S for hour in self.hours)
        return start_ns, end_ns


class _Plant:
    """Counters of a group's GPUs and work; whole numbers alone."""

    def __init__(self, steered: SampleExperiment, utc_ns: int) -> None:
        self._of, self.utc_ns = steered, utc_ns
        self.uj = self._done = self.work = self.itl_us = self.itl_count = 0  # `_done`: work in millionths
        self.worked_ns = utc_ns

    def run(self, seconds: int, *, on: bool) -> int:
        """Advance by `seconds` and return the energy."""
        of, before_uj = self._of, self.uj
        for second in range(self.utc_ns // NS_PER_S, self.utc_ns // NS_PER_S + seconds):
            load_ppm = _PPM + _noise(second // 20, 7) * 900  # up to 4.5 % around the mean
            power_ppm = (_PPM - of.less_ppm if on else _PPM) + _noise(second // 20, 3) * 60 + (load_ppm - _PPM) // 2
            rate_ppm = _PPM - of.slower_ppm if on and not of.wait_us else _PPM
            self.uj += of.watts * len(of.devices) * power_ppm
            done = of.work_ppm * (rate_ppm + (load_ppm - _PPM if of.wait_us else 0)) // _PPM
            self._done += done
            work_done = self._done // _PPM - self.work
            if work_done:
                self.work += work_done
                self.worked_ns = (second + 1) * NS_PER_S - (self._done % _PPM) * NS_PER_S // done
            if of.wait_us:
                wait_ppm = (_PPM + of.slower_ppm if on else _PPM) + _noise(second // 20, 5) * 80
                self.itl_count, self.itl_us = (
                    self.itl_count + work_done,
                    self.itl_us + work_done * of.wait_us * wait_ppm // _PPM,
                )
        self.utc_ns += seconds * NS_PER_S
        return self.uj - before_uj

    @property
    def reading(self) -> WorkReading:
        """Its work: counts of steps were right when the last one ended, those of a server now."""
        return WorkReading(self.utc_ns if self._of.wait_us else self.worked_ns, self.work, self.itl_us, self.itl_count)


def _noise(number: int, seed: int) -> int:
    """From -50 to 50, the same each time."""
    return (number * 7919 * seed + number // 13 * 104_729 + number * number % 9973) % 101 - 50


def rows(steered: SampleExperiment, first_ns: int, days: int) -> Iterator[ProofRow]:
    """Every row of its experiment on the sample's first `days` days."""
    subject = Subject(steered.group, steered.workload, steered.policy)
    chosen = [day for day in range(days) if steered.is_steered_on(day)]
    if not chosen:
        return
    plant = _Plant(steered, steered.times_ns(first_ns, chosen[0])[0])
    experiment = Experiment(PLAN, ExperimentState(plant.utc_ns, bool(steered.wait_us), salt=""))
    for day in chosen:
        plant.utc_ns, end_ns = steered.times_ns(first_ns, day)
        while plant.utc_ns < end_ns:
            on = not experiment.is_paused
            used_uj = plant.run(_ROUND_S if experiment.is_measuring else _IDLE_ROUND_S, on=on)
            enforced = dict.fromkeys(steered.devices, used_uj // len(steered.devices)) if on else {}
            energy, now_ns = EnergyReading(plant.utc_ns, plant.uj), plant.utc_ns
            yield from experiment.feed(Round(now_ns, now_ns, on, enforced, energy, plant.reading), subject)
    if steered.days[1] <= days:
        yield from experiment.close(plant.utc_ns + _LATER_NS, subject)
