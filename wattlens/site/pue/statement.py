"""Result of `wattlens pue`: a site's PUE over a window, related ratios, and a breakdown of the overhead. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from energy_agent.core.energy import Gap
from energy_agent.core.meters.facility import MeterEnergy, Position
from energy_agent.core.quantity import Quantity, no_quantity
from energy_agent.site.building.pue import COVERED, EnergyFlow, Pue, best, by_position, losses, parts, shares, stated_pue
from energy_agent.site.windows import PueValue

UJ_PER_KWH = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class PueStatement:
    """A site's PUE with its parts. `pues` has one per position at which IT is metered; `main` is of the highest category."""

    site: str
    start_ns: int
    end_ns: int
    zone: str
    main: Pue
    pues: tuple[Pue, ...]
    parts: tuple[EnergyFlow, ...]
    losses: tuple[EnergyFlow, ...]
    others: Mapping[str, Quantity]
    meters: Mapping[str, MeterEnergy]
    simulated: bool
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PueContext:
    """Data in addition to the meters: a stated PUE, and IT energy from the nodes' ledgers in uJ."""

    stated: PueValue | None = None
    nodes_uj: int | None = None


def statement(
    site: str,
    window: tuple[int, int],
    meters: Mapping[str, MeterEnergy],
    around: PueContext,
    *,
    position: Position | None = None,
    zone: str = "",
    least: Fraction = COVERED,
    simulated: bool = False,
) -> PueStatement:
    """The statement of a window.

    Args:
        site: its name.
        window: start and end in UTC ns, whole cells.
        meters: what each meter counted in it.
        around: what stands in where meters are missing.
        position: IT metered here alone; None: wherever it is.
        zone: the partial PUE of this room or loop; "": of the site.
        least: how much of the window must have been metered for a PUE.
        simulated: any of it came from simulated hardware.
    """
    pues = by_position(meters, position, zone, least)
    main = best(pues)
    if main is None or (main.amount.value is None and not zone):
        main = _estimate(main, around) or main or _nothing(position, zone)
    at = Position.of(main.category) or (Position.of(pues[-1].category) if pues else None)
    return PueStatement(
        site, *window, zone, main, pues,
        tuple(parts(meters, at)) if at is not None and not zone else (),
        tuple(losses(meters)) if not zone else (),
        shares(meters) if not zone else {},
        meters, simulated,
    )  # fmt: skip


def _estimate(measured: Pue | None, around: PueContext) -> Pue | None:
    """IT, metered or from the nodes' ledgers, times a PUE that somebody states."""
    if around.stated is None:
        return None
    it_uj = measured.it_uj if measured is not None and measured.it_uj else around.nodes_uj
    if it_uj is None:
        return None
    estimate = stated_pue(it_uj, around.stated.value, around.stated.uncertainty)
    return estimate if measured is None else replace(estimate, imputed_uj=measured.imputed_uj)


def _nothing(position: Position | None, zone: str) -> Pue:
    where = (f" at {position}" if position else "") + (f" in {zone}" if zone else "")
    reason = f"no meter of role it{where}, and no stated PUE with IT energy for an estimate (pue.value of --config, --nodes)"
    return Pue("pPUE" if zone else "iPUE", 0, no_quantity(reason))


def gaps(meters: Mapping[str, MeterEnergy]) -> list[tuple[str, Gap]]:
    """What no meter saw, by meter and time, neighbours of one reason joined."""
    joined_gaps: list[tuple[str, Gap]] = []
    for name, meter in sorted(meters.items()):
        for gap in meter.gaps:
            last = joined_gaps[-1] if joined_gaps and joined_gaps[-1][0] == name else None
            if last is not None and last[1].reason == gap.reason and last[1].end_ns >= gap.start_ns:
                was = last[1]
                joined = Gap(was.device, was.start_ns, max(was.end_ns, gap.end_ns), was.bound_uj + gap.bound_uj, was.reason)
                joined_gaps[-1] = (name, joined)
            else:
                joined_gaps.append((name, gap))
    return joined_gaps


def as_json(statement: PueStatement) -> dict[str, Any]:
    """The statement for machines. Ratios and energies in kWh are decimal text of nine places."""
    return {
        "schema": "wattlens.pue/1",
        "site": statement.site,
        "from_ns": statement.start_ns,
        "to_ns": statement.end_ns,
        "zone": statement.zone,
        "simulated": statement.simulated,
        "pue": _pue(statement.main),
        "by_position": [_pue(each) for each in statement.pues],
        "parts": [_part(each) for each in statement.parts],
        "losses": [_part(each) for each in statement.losses],
        "others": {name: amount_json(amount) for name, amount in statement.others.items()},
        "notes": dict(statement.notes),
        "meters": {name: _meter(each) for name, each in statement.meters.items()},
        "gaps": [
            {
                "meter": name,
                "from_ns": g.start_ns,
                "to_ns": g.end_ns,
                "bound_kwh": text(Fraction(g.bound_uj, UJ_PER_KWH)),
                "reason": g.reason,
            }
            for name, g in gaps(statement.meters)
        ],
    }


def amount_json(amount: Quantity, unit: Fraction = Fraction(1)) -> dict[str, str | None]:
    """A number with its bounds as text; absent is null with its reason."""
    fields: dict[str, str | None] = {
        name: None if value is None else text(value / unit)
        for name, value in (("value", amount.value), ("lower", amount.low), ("upper", amount.high))
    }
    return fields | ({"reason": amount.reason} if amount.reason else {})


def text(value: Fraction, digits: int = 9) -> str:
    """Decimal text, rounded half to even at so many places, without trailing zeros."""
    whole = round(value * 10**digits)
    sign, (before, after) = "-" if whole < 0 else "", divmod(abs(whole), 10**digits)
    return f"{sign}{before}.{after:0{digits}d}".rstrip("0").rstrip(".")


def _pue(pue: Pue) -> dict[str, Any]:
    return {
        "kind": pue.kind,
        "category": pue.category or None,
        "estimate": pue.stated,
        **amount_json(pue.amount),
        "coverage": None if not pue.category else text(pue.coverage),
        "total_kwh": text(Fraction(pue.total_uj, UJ_PER_KWH)),
        "it_kwh": text(Fraction(pue.it_uj, UJ_PER_KWH)),
        "imputed_kwh": text(Fraction(pue.imputed_uj, UJ_PER_KWH)),
    }


def _part(part: EnergyFlow) -> dict[str, Any]:
    return {"name": part.name, "meters": list(part.meters), "kwh": amount_json(part.amount, Fraction(UJ_PER_KWH))}


def _meter(each: MeterEnergy) -> dict[str, Any]:
    return {
        **each.facts.labels,
        "measured_kwh": text(Fraction(each.measured_uj, UJ_PER_KWH)),
        "imputed_kwh": text(Fraction(each.imputed_uj, UJ_PER_KWH)),
        "by_method_kwh": {method.value: text(Fraction(uj, UJ_PER_KWH)) for method, uj in sorted(each.energy_uj.items())},
        "coverage": text(Fraction(min(each.measured_ns, each.window_ns), each.window_ns)),
    }
