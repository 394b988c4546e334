"""PUE and its relatives from what meters counted over a window. Pure.

PUE = energy of the data centre / energy of its IT (ISO/IEC 30134-2). Over less than twelve months it is an interim PUE (iPUE),
of a room or a cooling loop a partial one (pPUE); the category says where IT is metered. REF = renewable / total (30134-3),
ERF = reused / total (30134-6), CUE = CO2e of the total / IT (30134-8), WUE = water / IT (30134-9).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Final

from energy_agent.core.energy import Method
from energy_agent.core.meters.facility import MeterEnergy, MeterFacts, Position, Role
from energy_agent.core.quantity import Quantity, Unit, no_quantity
from energy_agent.site.building.ratio import Terms, coverage, energy, ratio
from energy_agent.site.building.spans import merged
from energy_agent.site.building.tree import below, meters_of_role, nearest, path_of

DAY_NS: Final = 86_400 * 10**9
YEAR_NS: Final = 365 * DAY_NS
COVERED: Final = Fraction(9, 10)
"""What of twelve months has to be metered for a PUE; what is made of less is an interim one."""
_SEEN: Final = Fraction(4, 5)
"""What lies between two positions loses less than a fifth: cables, transformers, a UPS at low load."""
_APART: Final = 1000  # of a window, that the two sums may differ in when they began: restarts take a moment
_KWH_UJ: Final = 3_600_000_000_000
OVERHEAD: Final = (Role.COOLING, Role.UPS_LOSS, Role.LIGHTING)


@dataclass(frozen=True, slots=True)
class Pue:
    """A PUE with what belongs next to it.

    Args:
        kind: PUE (twelve months and more, metered nine tenths of the time), iPUE, or pPUE of a zone.
        category: 1, 2 or 3; 0: it was not measured but stated.
        amount: the ratio.
        total_uj: energy of the data centre or zone, with what is imputed.
        it_uj: energy of its IT, with what is imputed.
        imputed_uj: what is imputed of either.
        coverage: share of the window in which its least covered meter was read.
        stated: somebody states it, or part of what it is made of: an estimate, never called measured.
        raised_from: the measured ratio, where it is below 1 within its errors and the amount is 1 instead.
    """

    kind: str
    category: int
    amount: Quantity
    total_uj: int = 0
    it_uj: int = 0
    imputed_uj: int = 0
    coverage: Fraction = Fraction(0)
    stated: bool = False
    raised_from: Fraction | None = None


@dataclass(frozen=True, slots=True)
class EnergyFlow:
    """Where energy goes: a role, a loss between two positions, or the rest that no meter explains."""

    name: str
    amount: Quantity
    meters: tuple[str, ...] = ()


def it_terms(meters: Mapping[str, MeterFacts], position: Position, zone: str = "") -> dict[str, int]:
    """The meters whose signed sum is IT energy at a position: what flows there, less what is not IT below it."""
    top = [m for m in meters_of_role(meters.values(), Role.IT, position) if zone in ("", m.zone)]
    return {m.id: 1 for m in top} | {m.id: -1 for m in below(top, meters)}


def total_terms(meters: Mapping[str, MeterFacts]) -> dict[str, int]:
    """The meters whose sum is all energy of the site: its feeds, and its own generation in addition to them."""
    feeds = {m.id: 1 for m in meters_of_role(meters.values(), Role.TOTAL)}
    if not feeds:
        return {}
    generators = meters_of_role(meters.values(), Role.RENEWABLE)
    return feeds | {m.id: 1 for m in generators if not feeds.keys() & set(path_of(m.id, meters)[:-1])}


def pue(meters: Mapping[str, MeterEnergy], position: Position, zone: str = "") -> Pue:
    """PUE by IT energy at a position, of the site or of a zone of it."""
    facts = {m: e.facts for m, e in meters.items()}
    asked_ns = max((e.asked_ns or e.window_ns for e in meters.values()), default=0)
    kind = "pPUE" if zone else "iPUE"

    def absent(reason: str, it: Terms = {}) -> Pue:  # noqa: B006 - read alone
        imputed_uj = sum(meters[m].imputed_uj for m in it)
        return Pue(kind, position.category, no_quantity(reason), it_uj=_uj(meters, it), imputed_uj=imputed_uj)

    it = it_terms(facts, position, zone)
    if not it:
        return absent(f"no meter of role it at {position}" + (f" in {zone}" if zone else ""))
    it_uj = _uj(meters, it)
    total = _zone_terms(facts, it, zone) if zone else total_terms(facts)
    if not total:
        return absent("no meter of role total", it)
    if reason := _blind(meters, facts, it, position, zone):
        return absent(reason, it)
    there_ns = [_declared_ns(meters, terms, asked_ns) for terms in (total, it)]
    if abs(there_ns[0] - there_ns[1]) > asked_ns // _APART:
        return absent("meters of the total and of IT were not declared over the same time", it)
    used = [meters[m] for m in {**total, **it}]
    covered = min(coverage(used), Fraction(min(there_ns), asked_ns))
    if not zone and asked_ns >= YEAR_NS and covered >= COVERED:
        kind = "PUE"
    measured = ratio(meters, total, it)
    amount = _at_least_one(measured)
    raised = measured.value if measured.value is not None and amount.value is not None and measured.value < 1 else None
    imputed_uj = sum(m.imputed_uj for m in used)
    stated = any(m.energy_uj.get(Method.MODELLED) for m in used)
    return Pue(kind, position.category, amount, _uj(meters, total), it_uj, imputed_uj, covered, stated, raised)


def enough(pue: Pue, least: Fraction = COVERED) -> Pue:
    """The PUE, unless too little of the window was metered: that of a few hours would be taken for that of all."""
    if pue.amount.value is None or not pue.category or pue.coverage >= least:
        return pue
    reason = f"less than {float(least):.0%} of the window was metered"
    return replace(pue, amount=no_quantity(reason))


def by_position(
    meters: Mapping[str, MeterEnergy], only: Position | None = None, zone: str = "", least: Fraction = COVERED
) -> tuple[Pue, ...]:
    """The PUE at every position at which IT is metered, or at one alone, of the site or a zone; each metered `enough`."""
    facts = {m: e.facts for m, e in meters.items()}
    positions = [p for p in Position if only in (None, p) and it_terms(facts, p, zone)]
    return tuple(enough(pue(meters, p, zone), least) for p in positions)


def stated_pue(it_uj: int, value: Fraction, uncertainty: Fraction) -> Pue:
    """The estimate without meters: IT energy times a PUE that somebody states, with a bound of its relative error."""
    bounds = (max(Fraction(1), value * (1 - uncertainty)), value * (1 + uncertainty))
    return Pue(
        "PUE", 0, Quantity(value, *bounds, unit=Unit.RATIO), round(it_uj * value), it_uj, coverage=Fraction(0), stated=True
    )


def best(candidates: Iterable[Pue]) -> Pue | None:
    """The PUE of the highest category that has a value; else the first, which has a reason."""
    every = list(candidates)
    valued = [p for p in every if p.amount.value is not None]
    return max(valued, key=lambda p: p.category) if valued else next(iter(every), None)


def parts(meters: Mapping[str, MeterEnergy], position: Position) -> list[EnergyFlow]:
    """Where the energy of the site goes, IT at a position first, the rest that no meter explains last."""
    facts = {m: e.facts for m, e in meters.items()}
    it, total = it_terms(facts, position), total_terms(facts)
    parts = [_part(f"IT at {position}", meters, it)] if it else []
    explained: dict[str, int] = dict(it)
    for role in OVERHEAD:
        terms = overhead_terms(facts, role)
        if terms:
            parts.append(_part(str(role), meters, terms))
        explained = _plus(explained, terms)
    if total and it:
        rest = _plus(total, {m: -sign for m, sign in explained.items()})
        parts.append(_part("not explained by a meter", meters, rest))
    return parts


def overhead_terms(meters: Mapping[str, MeterFacts], role: Role) -> dict[str, int]:
    """The meters whose signed sum is the energy of a role of overhead: without what hangs below them and is another's."""
    overhead = {m.id for m in meters.values() if m.role in OVERHEAD}
    terms = {m: 1 for m in overhead if meters[m].role is role}
    for m in overhead:
        above = nearest(m, meters, overhead)
        if above and meters[above].role is role and meters[m].role is not role:
            terms[m] = terms.get(m, 0) - 1
    return {m: sign for m, sign in sorted(terms.items()) if sign}


def made_terms(meters: Mapping[str, MeterFacts]) -> tuple[dict[str, int], dict[str, int]]:
    """(what comes from the grid, what the site makes itself): signed sums that together are the total."""
    total = total_terms(meters)
    generation = {m.id: 1 for m in meters_of_role(meters.values(), Role.RENEWABLE)}
    return _plus(total, dict.fromkeys(generation, -1)) if total else {}, generation


def losses(meters: Mapping[str, MeterEnergy]) -> list[EnergyFlow]:
    """What is lost between two positions at which IT is metered."""
    facts = {m: e.facts for m, e in meters.items()}
    at = [(p, terms) for p in Position if (terms := it_terms(facts, p))]
    return [
        _part(f"between {upper} and {lower}", meters, _plus(above, {m: -sign for m, sign in under.items()}))
        for (upper, above), (lower, under) in pairwise(at)
    ]


def shares(meters: Mapping[str, MeterEnergy]) -> dict[str, Quantity]:
    """REF by what is made on the site, and ERF."""
    facts = {m: e.facts for m, e in meters.items()}
    total = total_terms(facts)
    amounts = {}
    for name, role in (("REF", Role.RENEWABLE), ("ERF", Role.REUSED_HEAT)):
        terms = {m.id: 1 for m in meters_of_role(facts.values(), role)}
        missing = f"no meter of role {role}" if not terms else "no meter of role total" if not total else ""
        amounts[name] = no_quantity(missing) if missing else ratio(meters, terms, total)
    return amounts


def per_it_kwh(amount: Fraction, relative: Fraction | None, meters: Mapping[str, MeterEnergy], position: Position) -> Quantity:
    """Something per kWh of IT: WUE of liters, CUE of grams. `relative` bounds its own error; None: nobody states one."""
    it = it_terms({m: e.facts for m, e in meters.items()}, position)
    if not it:
        return no_quantity(f"no meter of role it at {position}")
    it_energy = energy(meters, it)
    if it_energy.value is None or it_energy.value <= 0:
        return no_quantity(it_energy.reason or "no energy of IT was metered")
    value = amount * _KWH_UJ / it_energy.value
    if relative is None or it_energy.low is None or it_energy.high is None or it_energy.low <= 0:
        return Quantity(value)
    low = amount * max(Fraction(0), 1 - relative) * _KWH_UJ / it_energy.high
    return Quantity(value, low, amount * (1 + relative) * _KWH_UJ / it_energy.low)


def _blind(meters: Mapping[str, MeterEnergy], facts: Mapping[str, MeterFacts], it: Terms, position: Position, zone: str) -> str:
    """Why the meters at a position do not see all IT; "": by the tree of meters, they do."""
    upper = [m for m in facts.values() if m.position is not None and m.position.category < position.category]
    upper = [m for m in upper if zone in ("", m.zone)]
    below_them = {i for m in it for i in path_of(m, facts)}
    last_ns = max((life[1] for e in meters.values() for life in e.lives), default=0)
    for each in sorted(upper, key=lambda m: m.id):
        ended = bool(meters[each.id].lives) and meters[each.id].lives[-1][1] < last_ns
        if each.id not in below_them and not ended:
            return (
                f"{each.id} at {each.position} has no meter at {position} below it, so part of the IT energy is not "
                "metered there"
            )
    lower = [m for m in facts.values() if m.position is not None and m.position.category > position.category]
    for each in sorted((m for m in lower if zone in ("", m.zone)), key=lambda m: m.id):
        if not nearest(each.id, facts, it):
            return (
                f"{each.id} at {each.position} is not below a meter at {position}, so part of the IT energy is not "
                "metered there"
            )
    for above in (p for p in Position if p.category < position.category):
        terms = it_terms(facts, above, zone)
        if terms and all(meters[m].measured_ns for m in {**terms, **it}) and _uj(meters, it) < _SEEN * _uj(meters, terms):
            return (
                f"meters at {position} measure less than {float(_SEEN):.0%} of the IT energy at {above}, so part of it "
                "is not metered there"
            )
    return ""


def _declared_ns(meters: Mapping[str, MeterEnergy], terms: Terms, asked_ns: int) -> int:
    """For how long of the window at least one meter of a sum was declared."""
    if any(not meters[m].lives for m in terms):  # one that knows of no coming and going was always there
        return asked_ns
    return sum(end_ns - start_ns for start_ns, end_ns in merged(life for m in terms for life in meters[m].lives))


def _uj(meters: Mapping[str, MeterEnergy], terms: Terms) -> int:
    return sum(sign * (meters[m].measured_uj + meters[m].imputed_uj) for m, sign in terms.items())


def _zone_terms(facts: Mapping[str, MeterFacts], it: Terms, zone: str) -> dict[str, int]:
    """All energy of the zone and of no other zone: the supply of its IT, with everything below that, plus its overhead."""
    tops = {m for m, sign in it.items() if sign > 0}
    mine = {m.id for m in facts.values() if m.role in OVERHEAD and m.zone == zone}
    tops |= {m for m in mine if not nearest(m, facts, tops | mine)}
    foreign = {m.id for m in facts.values() if m.role in OVERHEAD and m.zone not in ("", zone) and nearest(m.id, facts, tops)}
    taken = {m for m in foreign if not nearest(m, facts, foreign)}
    back = {m for m in mine if nearest(m, facts, taken | mine) in taken}
    return dict.fromkeys(sorted(tops), 1) | dict.fromkeys(sorted(taken), -1) | dict.fromkeys(sorted(back - tops), 1)


def _at_least_one(amount: Quantity) -> Quantity:
    """A PUE is at least 1, since its total contains its IT: a bound below is no bound, and a value below is a contradiction."""
    if amount.value is None:
        return amount
    if amount.high is not None and amount.high < 1:
        return no_quantity("the meters contradict each other: the total is below its IT by more than all errors")
    low = None if amount.low is None else max(Fraction(1), amount.low)
    return replace(amount, value=max(Fraction(1), amount.value), low=low)


def _part(name: str, meters: Mapping[str, MeterEnergy], terms: Terms) -> EnergyFlow:
    return EnergyFlow(name, energy(meters, terms), tuple(sorted(terms)))


def _plus(a: Terms, b: Terms) -> dict[str, int]:
    """The signed sum of two sums; a meter that cancels is in it no more."""
    both = {m: a.get(m, 0) + b.get(m, 0) for m in {**a, **b}}
    return {m: sign for m, sign in both.items() if sign}
