"""Why energy and CO2e differ from the period before and a year ago: volume, mix, efficiency, PUE and grid sum to the change."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import ZERO, Quantity, no_quantity
from energy_agent.core.units import NS_PER_H, UJ_PER_J, UJ_PER_KWH
from reports.figures.bridge import Bridge, Side, co2e_bridge, energy_bridge, mix_adjusted, node_bridge
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import Figure, amount_figure
from reports.figures.measures import carbon, energy
from reports.figures.measures._measure import Measure, model_of
from reports.figures.measures.carbon import boundary, common, counts_life_cycle, group_grams
from reports.figures.wording import percent
from reports.ledger.sums import PartEnergy
from reports.site.coverage import together

NO_EARLIER = "the ledger has no data of that period"
RUNS = "the period has not ended, so it is not compared yet"
MIXED = "several models"
TOTALS = (
    "energy.gpu", "energy.node", "energy.facility", "energy.inventory", "co2e.location", "co2e.market",
    "co2e.lifecycle.location", "co2e.lifecycle.market",
)  # fmt: skip
_AT_THE_WIDEST: Final = ("energy.inventory", "cost")
"""Totals in which each site is at its widest known boundary, as in all emissions."""


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """`bridge.QUANTITY/WHEN/EFFECT`: what each factor did; the effects `from` and `to` are the two sums.

    energy and co2e (lifecycle, where grams are of the life cycle) are of all that workloads held, by GPU hours; serving is of
    what generated tokens, by tokens.
    """
    running = any(window.open for window in evidence.sums.windows.values())
    for when, earlier in (("before", evidence.before), ("year_ago", evidence.year_ago)):
        if when == "year_ago" and evidence.is_yearly:
            continue  # it is the period before
        why = RUNS if running else NO_EARLIER if earlier is None else too_little_metered(earlier)
        if earlier is None or why:
            for name, unit in (("energy", "J"), (_grams(evidence), "g"), ("serving", "J")):
                yield amount_figure(f"bridge.{name}/{when}", no_quantity(why), unit, "Shapley", "facility")
            continue
        earlier_figures = (*energy.figures(earlier), *carbon.figures(earlier))
        yield from earlier_totals(earlier_figures, f"total.{when}", {"period": earlier.label}, TOTALS, earlier, evidence)
        then, now = side(earlier), side(evidence)
        within, other = _boundaries(earlier, evidence)
        other = other or _bases(earlier, evidence)
        yield from _energy("energy", when, then, now, earlier.label, within)
        grams_bridge = Bridge(None, None, (), other) if other else co2e_bridge(then, now)
        yield from _bridge(_grams(evidence), when, grams_bridge, "g", Fraction(1), earlier.label, common(within.values()))
        then, now = serving(earlier), serving(evidence)
        yield from _energy("serving", when, then, now, earlier.label, within)
        adjusted = mix_adjusted(then, now)
        if adjusted.before is not None and adjusted.after is not None:
            dims = {"period": earlier.label, "left_out": ", ".join(adjusted.left_out)}
            for name, uj in (("then", adjusted.before), ("now", adjusted.after)):
                identity, how = f"j_per_token.same_mix/{when}/{name}", "the earlier mix of models"
                yield amount_figure(identity, Quantity(uj / UJ_PER_J), "J/token", how, "node", dims=dims)


def too_little_metered(earlier: PeriodEvidence) -> str:
    """Why a period is not compared with; "": it is. What was hardly metered would read as growth."""
    share = together(earlier.covered).share or Fraction(0)
    if share >= earlier.organisation.least_coverage:
        return ""
    return f"only {percent(share)} of {earlier.label} was metered, too little to compare with"


def earlier_totals(
    earlier_figures: Iterable[Figure],
    prefix: str,
    dims: Mapping[str, str],
    totals: Collection[str],
    then: PeriodEvidence,
    now: PeriodEvidence,
) -> Iterator[Figure]:
    """`PREFIX/ID`: what the figure ID was then, as a report of that period states it; the reason if the two do not compare.

    Args:
        earlier_figures: figures of the earlier period.
        prefix: of their IDs.
        dims: of each.
        totals: IDs of figures that are compared.
        then: the earlier period.
        now: the period of the report.
    """
    moved = _boundaries(then, now)[1]
    rebased = moved or _bases(then, now)
    for figure in earlier_figures:
        if figure.id in totals and figure.value is not None:
            reason = rebased if figure.id.startswith("co2e.") else moved if figure.id in _AT_THE_WIDEST else ""
            one = replace(figure, id=f"{prefix}/{figure.id}", dims={**dims, "figure": figure.id})
            yield replace(one, value=None, low=None, high=None, reason=reason) if reason else one


def _boundaries(then: PeriodEvidence, now: PeriodEvidence) -> tuple[dict[str, str], str]:
    """Return (narrower boundary of each site in the two periods, reason why their CO2e is not compared or "")."""
    narrower, moved = {}, []
    order = ("gpu", "node", "facility")
    for site in sorted({*then.sites, *now.sites}):
        periods = [e for e in (then, now) if site in e.sites]
        if of_workloads := [boundary(e, site) for e in periods if not e.unrecorded(site)]:
            narrower[site] = min(of_workloads, key=order.index)
        sides = [boundary(e, site) for e in periods if not e.unrecorded(site) or e.sites[site].building.measured]
        if len(set(sides)) > 1:
            moved.append(f"the boundary of {site} was {sides[0]} then, and is {sides[1]} now")
    return narrower, "; ".join(moved)


def _bases(then: PeriodEvidence, now: PeriodEvidence) -> str:
    """Why grams of two periods are not compared: they are of different emissions; "": they are of the same."""
    joined = [site.grid.location for each in (then, now) for site in each.sites.values()]
    bases = sorted({str(j.basis) for j in joined if j is not None})
    return f"emissions on different bases are not compared: {' and '.join(bases)}" if len(bases) > 1 else ""


def _grams(evidence: PeriodEvidence) -> str:
    """What the bridge of grams is called: those of the life cycle are no Scope 2, and have a name of their own."""
    return "lifecycle" if counts_life_cycle(evidence, evidence.sites) else "co2e"


def side(evidence: PeriodEvidence) -> Side:
    """All that workloads held: GPU hours and node energy, by kind of workload."""
    who = evidence.sums.parts
    hours: dict[str, Fraction | int] = {}
    node_uj: dict[str, int] = {}
    rows = [row for row in _list_energies(evidence) if row.part]
    for row in rows:
        key = who[row.part].kind or "workloads"
        node_uj[key] = node_uj.get(key, 0) + row.held_uj
        if row.device_class == "gpu":
            hours[key] = hours.get(key, Fraction(0)) + Fraction(row.gpu_ns, NS_PER_H)
    mine = [row for row in rows if hours.get(who[row.part].kind or "workloads")]
    volumes = {k: v for k, v in hours.items() if v}
    return Side(volumes, {k: v for k, v in node_uj.items() if k in volumes}, *_outer(evidence, mine))


def serving(evidence: PeriodEvidence) -> Side:
    """What generated tokens: tokens and node energy, by model and precision."""
    who = evidence.sums.parts
    tokens: dict[str, Fraction | int] = {}
    node_uj: dict[str, int] = {}
    for count in evidence.sums.tokens:
        if count.phase == "generation":
            key = model_of(who[count.part]) or MIXED
            tokens[key] = tokens.get(key, 0) + count.tokens
    parts = {t.part for t in evidence.sums.tokens if t.phase == "generation" and t.tokens}
    for row in _list_energies(evidence):
        if row.part in parts:
            key = model_of(who[row.part]) or MIXED
            node_uj[key] = node_uj.get(key, 0) + row.held_uj
    mine = [row for row in _list_energies(evidence) if row.part in parts]
    return Side(tokens, node_uj, *_outer(evidence, mine))


def _list_energies(evidence: PeriodEvidence) -> list[PartEnergy]:
    """Allocated energy of GPUs, and of hosts where a site's nodes are metered whole."""
    hosts = {site for site in evidence.sites if not evidence.node_gap(site)}
    return [r for r in evidence.sums.part_rows if r.device_class == "gpu" or (r.device_class == "host" and r.site in hosts)]


def _energy(name: str, when: str, then: Side, now: Side, label: str, within: dict[str, str]) -> Iterator[Figure]:
    """Facility energy where both periods have a PUE of every site, else that of the nodes, or GPUs."""
    has_pue = then.pue is not None and now.pue is not None and set(within.values()) == {"facility"}
    energy_change = energy_bridge(then, now) if has_pue else node_bridge(then, now)
    at = "facility" if has_pue else common("node" if each == "facility" else each for each in within.values())
    yield from _bridge(name, when, energy_change, "J", Fraction(1, UJ_PER_J), label, at)


def _outer(evidence: PeriodEvidence, rows: Sequence[PartEnergy]) -> tuple[Fraction | None, Fraction | None, dict[str, str]]:
    """Return PUE and intensity of these rows: site values weighted by workload energy, so that the product equals their grams.

    The PUE of a site without data beyond its nodes is 1.
    """
    absent: dict[str, str] = {}
    node_uj, building_uj = 0, Fraction(0)
    pue: Fraction | None = Fraction(1)
    grams: list[Quantity] = []
    for site in sorted({r.site for r in rows}):
        mine = [r for r in rows if r.site == site]
        uj = sum(r.held_uj for r in mine)
        site_pue = evidence.pue(site) if boundary(evidence, site) == "facility" else Quantity(Fraction(1))
        if site_pue.value is None:
            pue, absent["pue"] = None, site_pue.reason
            break
        node_uj, building_uj = node_uj + uj, building_uj + site_pue.value * uj
        grams.append(group_grams(evidence, site, mine))
    if pue is None or not node_uj:
        return None, None, absent | {"grid": absent.get("pue", "no workload used energy")}
    located = sum(grams, ZERO)
    if located.value is None:
        return building_uj / node_uj, None, absent | {"grid": located.reason}
    return building_uj / node_uj, located.value * UJ_PER_KWH / building_uj, absent


def _bridge(name: str, when: str, change: Bridge, unit: str, scale: Fraction, label: str, within: str) -> Iterator[Figure]:
    dims = {"period": label}
    if change.before is None or change.after is None or change.reason:
        absent = no_quantity(change.reason or NO_EARLIER)
        yield amount_figure(f"bridge.{name}/{when}", absent, unit, "Shapley", within, dims=dims)
        return
    for effect, amount in (("from", change.before), *change.effects, ("to", change.after)):
        of = dims | {"effect": effect}
        yield amount_figure(f"bridge.{name}/{when}/{effect}", Quantity(amount * scale), unit, "Shapley", within, dims=of)


SPEC = Measure("bridges from the previous period and from the same period a year ago", figures)
