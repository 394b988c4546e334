"""What policies see of a device and of a workload, out of what the agent publishes and counts."""

from dvfs.types import DeviceObservation, WorkCounters
from energy_agent.accounting.training_intake import Latest, TrainingReports
from energy_agent.core.ports import Clock
from energy_agent.core.snapshot import DeviceView
from energy_agent.core.workloads.training_report import TRAINING, is_local
from energy_agent.tokens.poller import TokenPoller
from wattlens.steering.groups import JobRanks

_NS = 1_000_000_000


def device_observation(view: DeviceView, now_ns: int) -> DeviceObservation:
    """What a policy sees of a device; one that does not answer stays in its group, with nothing known of it."""
    info, sample = view.info, view.sample
    low, high = info.power_limit_min_mw, info.power_limit_max_mw
    limits = None if low is None or high is None else (low, high)
    if sample is None:
        return DeviceObservation(info.uuid, info.name, now_ns, power_range_mw=limits, sm_clock_max_mhz=info.sm_clock_max_mhz)
    return DeviceObservation(
        info.uuid,
        info.name,
        sample.boot_ns,
        sample.sm_clock_mhz,
        sample.power_mw,
        sample.power_limit_mw,
        sample.event_reasons,
        sample.gpu_percent,
        sum(view.energy_uj.values()) if view.energy_uj else None,
        limits,
        info.sm_clock_max_mhz,
    )


def progress_of(workload: str, tokens: TokenPoller, training: TrainingReports | None, clock: Clock) -> WorkCounters | None:
    """Return a workload's progress from its metrics endpoints, or from its training processes; None while neither has data."""
    reading = tokens.latest(workload)
    if reading is not None:
        itl = reading.itl
        return WorkCounters(
            reading.boot_ns,
            tokens=reading.generation,
            queue=reading.waiting,
            latency_sum_s=itl.sum_s if itl is not None and itl.is_sum_exact else None,
            latency_count=None if itl is None else itl.count,
            prompt_tokens=reading.computed,
            requests=reading.requests,
            running=reading.running,
            ttft=reading.ttft,
            itl=itl,
            tpot=reading.tpot,
        )
    # The rank whose counts are the job's here: the lowest that reports; its ranks take a step together.
    lead: Latest | None = next(iter(training.ranks(workload)), None) if training is not None else None
    if lead is None:
        return None
    report = lead.report
    second_s = clock.real_seconds(1.0) or 1.0  # on a simulated node that runs faster, ages are in the machine's time
    ended_ns = None if report.step_age_s is None else round(lead.at_boot_ns - report.step_age_s / second_s * _NS)
    steps, trained = report.steps.get(TRAINING, 0), report.tokens or None  # 0: the loop reports none
    return WorkCounters(lead.at_boot_ns, tokens=trained, steps=steps, step_end_ns=ended_ns, doing=report.doing)


def ranks_of(training: TrainingReports | None, workload: str, led: bool) -> JobRanks | None:
    """The training job of a workload; None where it reports none. `led`: its other nodes follow what is decided here."""
    if training is None:
        return None
    reported = training.ranks(workload)
    if not reported:
        return None
    here = frozenset(each.report.rank for each in reported)
    group = reported[0].report.group
    return JobRanks("" if is_local(group) else group, max(each.report.world for each in reported), here, led)
