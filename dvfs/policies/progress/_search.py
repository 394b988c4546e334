"""The search for the least energy within a slowdown budget: what to try next. Pure.

Call `proposed` for a trial, run it, pass its samples to `learned` (`_learning.py`), and so on; `choice` is the setting
to keep. Laws:

- The slowdown of the whole run is within the budget with a margin of `WHOLE_Z` of its standard errors, and a setting is chosen
  only if its own slowdown is, with `CHOICE_Z`.
- Nothing is tried that is likely to be over twice the budget.
- The reference (the highest setting) is measured first, again and again, as often as better knowledge of it pays off, and at
  once after a jump. If the jump changed the effect of the settings, the search restarts.
- Where the budget lies between two settings, they alternate (`_mix.py`), unless this is switched off.
"""

import math
from dataclasses import replace

from dvfs.policies._trials import Trial
from dvfs.policies.progress._knowledge import HORIZON, WHOLE_Z, Search, allowance, points, slowdown_account
from dvfs.policies.progress._mix import SettingTradeoff, hull, least_energy, shares
from dvfs.policies.progress._response import POWER, CurvePosterior

RISK, RISK_OF_NEXT = 0.2, 0.4
"""Chance of a trial over twice the budget that is taken; for the step next to one that was tried."""
_HOLD = 25
_LAST_TRIALS = 100  # with fewer samples left nothing new is tried
_SELDOM, _OFTEN = 600, 60  # samples between two of the reference, at most and at least
_LOOK_EVERY = 8  # blocks between two looks for something to try, once nothing was found
_OPTIMISM_SD = 0.7  # a trial is judged by a plausible good outcome
_CHANCE = 0.25  # and by the chance of that
_TRIAL_COST = 0.004  # of a sample's energy: what every trial costs besides


def proposed(search: Search) -> tuple[Trial, Search]:
    """The next trial, at most the rest of the run."""
    trial, search = _next(search)
    most = trial.samples if search.left is None else min(trial.samples, max(1, search.left))
    return trial._replace(samples=max(1, most)), search


def _next(search: Search) -> tuple[Trial, Search]:
    reference, known = search.reference, search.samples.get(search.reference, 0)
    first = _between(12, (search.time_noise.sd / 0.0045) ** 2, 60)
    if known < first:
        return Trial(reference, first - known, "reference"), search
    if search.rechecks:
        return Trial(search.rechecks[0], _between(8, (search.time_noise.sd / 0.006) ** 2, 30), "recheck"), search
    if len(search.settings) == 1:
        return Trial(reference, _HOLD, "hold"), search
    if search.until_look <= 0:
        setting = _worth_trying(search, _fitted(search))
        if setting is not None:
            return Trial(setting, _probe(search), "probe"), search
        search = replace(search, until_look=_LOOK_EVERY)
    search = replace(search, until_look=search.until_look - 1)
    line = hull(points(search))
    aim = allowance(search)
    turns = shares(line, aim)
    search = replace(search, turns=turns if search.in_turns else {next(iter(turns)): 1.0})
    if _reference_due(search, line, aim):
        return Trial(reference, _probe(search), "reference"), search
    if len(search.turns) == 1:
        return Trial(next(iter(search.turns)), _HOLD, "hold"), search
    (fast, _), (slow, part) = search.turns.items()
    owed = search.owed + part
    setting = slow if owed >= 0.5 else fast
    return Trial(setting, _HOLD, "turns"), replace(search, owed=owed - (setting == slow))


def _probe(search: Search) -> int:
    return _between(5, (search.time_noise.sd / 0.0063) ** 2, 24)


def _between(low: int, value: float, high: int) -> int:
    return int(min(max(round(value), low), high))


def _fitted(search: Search) -> CurvePosterior | None:
    measured = {s: search.time.offset(s) for s in search.samples if s != search.reference}
    return search.response.fitted(measured) if search.response is not None else None


def _worth_trying(search: Search, response: CurvePosterior | None) -> float | None:
    """The setting whose trial is expected to save more than it costs, or None."""
    left = search.left if search.left is not None else HORIZON
    if left < _LAST_TRIALS or response is None:
        return None
    tried, aim = points(search), allowance(search)
    line = hull(tried)
    now, running = least_energy(line, aim), shares(line, aim)
    n = _probe(search)
    lowest = min(search.samples)
    best: tuple[float, float] | None = None
    refused = False
    for setting in search.settings[:-1]:
        if setting in running:
            continue  # it will be run anyway
        offset, sd, energy, energy_sd = _belief(search, response, setting)
        others = [p for p in tried if p.setting != setting]
        hoped = SettingTradeoff(
            max(0.0, math.expm1(offset - _OPTIMISM_SD * sd)), math.exp(energy - _OPTIMISM_SD * energy_sd), setting
        )
        gain = _CHANCE * (now - least_energy(hull([*others, hoped]), aim)) * left
        cost = n * (max(0.0, math.exp(energy) - now) + _TRIAL_COST)
        if gain <= cost:
            continue
        if _risk(search, response, setting, offset, sd) > (RISK_OF_NEXT if _is_next(search, setting) else RISK):
            refused = True
        elif best is None or gain - cost > best[0]:
            best = gain - cost, setting
    if best is None and refused and lowest != search.reference and _own_sd(search, lowest) > 0.12 * search.limit:
        # The settings below look too slow given present knowledge of the lowest tried one: measure that one better first.
        offset, variance = search.time.offset(lowest)
        if offset - 2 * math.sqrt(variance) < search.limit:
            return lowest
    return best[1] if best else None


def _is_next(search: Search, setting: float) -> bool:
    return setting not in search.samples and search.settings[search.settings.index(setting) + 1] in search.samples


def _risk(search: Search, response: CurvePosterior, setting: float, offset: float, sd: float) -> float:
    """Chance that a setting is over twice the budget."""
    limit = math.log1p(2 * search.budget)
    if setting in search.samples:
        return 0.5 * math.erfc((limit - offset) / (math.sqrt(2) * max(sd, 1e-9)))
    return response.chance_above(setting, limit)


def _own_sd(search: Search, setting: float) -> float:
    """Standard error of a setting's own samples: what more of them could still make smaller."""
    return math.sqrt(search.time_noise.variance_of_mean(max(1, search.samples.get(setting, 0))))


def _belief(search: Search, response: CurvePosterior, setting: float) -> tuple[float, float, float, float]:
    """Offset of time and of energy, each with the part of its standard deviation that trials can make smaller."""
    if setting in search.samples:
        offset = search.time.offset(setting)[0]
        own, n = _own_sd(search, setting), search.samples[setting]
        energy_sd = math.hypot(own, math.sqrt(search.power_noise.variance_of_mean(n)))
        return offset, own, offset + search.power.offset(setting)[0], energy_sd
    offset, sd = response.expected(setting)
    return offset, sd, offset + _expected_power(search, setting), math.hypot(sd, 0.03)


def _expected_power(search: Search, setting: float) -> float:
    """Logarithm of power relative to the reference's at a setting that was not tried."""
    above = min(s for s in search.samples if s > setting)
    below = max((s for s in search.samples if s < setting), default=None)
    high = search.power.offset(above)[0]
    if below is not None:
        part = math.log(above / setting) / math.log(above / below)
        return high + (search.power.offset(below)[0] - high) * part
    if not search.knob.startswith(POWER):
        return high + 1.3 * math.log(setting / above)
    # A limit below the mean power binds wholly; one not far above it binds where the power is above its mean.
    near = setting / (search.power_w * math.exp(high))
    return high + (1.0 if near < 1.1 else 0.6 if near < 1.5 else 0.0) * math.log(setting / above)


def _reference_due(search: Search, line: tuple[SettingTradeoff, ...], aim: float) -> bool:
    """Whether a better knowledge of the reference is worth its cost: a smaller margin lets the rest run slower."""
    if search.since_reference >= _SELDOM:
        return True
    if search.since_reference < _OFTEN or len(line) < 2 or aim >= line[-1].slowdown:
        return False
    left = float(search.left if search.left is not None else HORIZON)
    n, known = _probe(search), search.samples[search.reference]
    saving = 1 - least_energy(line, aim)
    slope = (least_energy(line, aim) - least_energy(line, aim + 0.002)) / 0.002
    margin = WHOLE_Z * math.sqrt(slowdown_account(search, {s: p * left for s, p in search.turns.items()}).variance)
    return slope * margin * (1 - math.sqrt(known / (known + n))) > n * max(saving, 0.002)
