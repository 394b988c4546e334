"""Evaluation of a trial: its samples become a block of the filters, and a jump in them starts a new search. Pure."""

import math
from collections.abc import Sequence
from dataclasses import replace

from dvfs.policies.progress._contrast import Contrasts
from dvfs.policies.progress._knowledge import (
    BlockMean,
    OutlierBlock,
    Search,
    nothing_known,
    slowdown_account,
    start_search,
    worth_now,
)
from dvfs.policies.progress._noise import BlockScatter, Noise
from dvfs.policies.progress._response import prior

_JUMP_SD, _CHANGED_SD = 5.0, 4.0  # how far off a block is looked into; and counts, once it is
_JUMP_LEAST = 0.01  # smaller jumps are left to the filters
_JUMP_SAMPLES = 3  # of a block, at least: fewer may all be one stall
_KNOWN = 12  # samples of a setting from which on it has something to be surprised by
_BLOCKS_KEPT = 128
_GROWN = 1.3  # growth of the number of blocks that triggers filtering again
_ALIKE = 0.75  # ratio of two variances above which they count as equal
_TYPICAL = 25  # samples of a block


def learn_trial(search: Search, setting: float, step_s: Sequence[float], power_w: Sequence[float]) -> Search:
    """With the samples of a trial, in order: time per work in s, and power in W.

    Raises:
        ValueError: no samples, or one that is not above 0.
    """
    if not step_s or len(step_s) != len(power_w) or not all(0 < x < math.inf for x in (*step_s, *power_w)):
        raise ValueError("a trial needs one time per power value, all above 0")
    n, logs = len(step_s), [math.log(x) for x in step_s]
    powers = [math.log(x) for x in power_w]
    time_noise, power_noise = search.time_noise.add_block(logs), search.power_noise.add_block(powers)
    search = replace(search, time_noise=time_noise, power_noise=power_noise)
    if search.left is not None:
        search = replace(search, left=max(0, search.left - n))
    time, power = (time_noise.mean(logs), time_noise.block(n)), (power_noise.mean(powers), power_noise.block(n))
    search, used = _tested(search, setting, time, power)
    if not used:
        expected = time[0] - search.time.surprise(setting, *time)[0]
        return replace(
            search,
            aside=(*search.aside, OutlierBlock(setting, tuple(logs), expected)),
            since_reference=search.since_reference + n,
        )
    if search.response is None and setting == search.reference:
        watts = math.exp(power[0])
        search = replace(search, power_w=watts, response=prior(search.knob, search.settings, watts))
    search = _filtered(search, BlockMean(setting, n, time[0], power[0]))
    first = search.first_level if search.first_level is not None else search.time.level
    worth = n * math.exp(min(search.time.level - first, 20.0))
    return replace(
        search,
        first_level=first,
        samples={**search.samples, setting: search.samples.get(setting, 0) + n},
        work={**search.work, setting: search.work.get(setting, 0.0) + worth},
        since_reference=0 if setting == search.reference else search.since_reference + n,
    )


def _filtered(search: Search, block: BlockMean) -> Search:
    """With another block; all again, once the noise turns out to be another than they were weighed with."""
    blocks = (*search.blocks, block) if search.blocks is not None and len(search.blocks) < _BLOCKS_KEPT else None
    noises = (search.time_noise, search.power_noise)
    again = (
        blocks is not None
        and len(blocks) >= _GROWN * search.filtered_blocks
        and any(map(_differ, search.filtered_with, noises))
    )
    times, power = search.times, search.power
    if again and blocks is not None:
        times, power = nothing_known(search.reference), Contrasts(search.reference)
        search = replace(search, filtered_with=noises, filtered_blocks=len(blocks))
    for one in blocks if again and blocks is not None else (block,):
        noise = search.time_noise.block(one.samples)
        times = tuple(time.add_block(one.setting, one.time, noise) for time in times)
        power = power.add_block(one.setting, one.power, search.power_noise.block(one.samples))
    return replace(search, times=times, power=power, blocks=blocks)


def _differ(a: Noise, b: Noise) -> bool:
    x, y = a.variance_of_mean(_TYPICAL), b.variance_of_mean(_TYPICAL)
    return not _ALIKE * y <= x <= y / _ALIKE


def _tested(
    search: Search, setting: float, time: tuple[float, BlockScatter], power: tuple[float, BlockScatter]
) -> tuple[Search, bool]:
    """Check for a jump; return whether to use the block.

    A block far from what is expected is set aside, and the reference measured next, then the same setting again. If either is
    far off too, the workload has changed and the search restarts; if not, the disturbance was temporary.
    """
    if search.samples.get(setting, 0) < _KNOWN or time[1].samples < _JUMP_SAMPLES:
        return search, True
    (late, late_sd) = search.time.surprise(setting, *time)
    (more, more_sd) = search.power.surprise(setting, *power)
    far = max(abs(late) / late_sd, abs(more) / more_sd)
    big = max(abs(late), abs(more)) > _JUMP_LEAST
    if not search.rechecks:
        if far > _JUMP_SD and big:
            others = (setting,) if setting != search.reference else ()
            return replace(search, rechecks=(search.reference, *others), until_look=0), False
        return search, True
    if far > _CHANGED_SD and big:
        return _restarted(search, time[0] if setting == search.reference else search.time.level), True
    search = replace(search, rechecks=search.rechecks[1:])
    return (search if search.rechecks else _taken_back(search)), True


def _taken_back(search: Search) -> Search:
    """End a temporary disturbance: blocks set aside count as work at their setting, but not as measurements of it."""
    work = dict(search.work)
    for block in search.aside:
        work[block.setting] = work.get(block.setting, 0.0) + len(block.times) * worth_now(search)
    return replace(search, work=work, aside=())


def _restarted(search: Search, level: float) -> Search:
    """Start with a new workload, whose reference runs at `level`: measurements of the old one only count as spent.

    In the block with the change, each sample belongs to the workload whose level is nearer.
    """
    now = math.exp(min(level - search.first_level, 20.0)) if search.first_level is not None else 1.0
    work, fresh_work, lost = dict(search.work), 0.0, 0.0
    for block in search.aside:
        fresh = [x for x in block.times if abs(x - level) < abs(x - block.expected)]
        old = len(block.times) - len(fresh)
        work[block.setting] = work.get(block.setting, 0.0) + old * worth_now(search)
        fresh_work += len(fresh) * now
        lost += now * math.fsum(math.expm1(min(x - level, 20.0)) for x in fresh)
    done = slowdown_account(replace(search, work=work), {})
    return replace(
        start_search(search.knob, search.settings, search.budget, search.left, in_turns=search.in_turns),
        time_noise=search.time_noise,
        power_noise=search.power_noise,
        before=replace(done, work=done.work + fresh_work, excess=done.excess + max(0.0, lost)),
        first_level=search.first_level,
        restarts=search.restarts + 1,
    )
