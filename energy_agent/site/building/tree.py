"""The declared tree of a site's meters: what hangs below what, and what would be counted twice. Pure.

`parent` says that the energy of a meter flowed through another before. A sum may never hold two meters of which one is above
the other; so two meters of the same role (for `it`: and position) on one path are refused, and IT energy at a position is what
flows there less what is not IT below it.
"""

from collections.abc import Iterable, Mapping, Sequence

from energy_agent.core.meters.facility import MeterFacts, Position, Role

NOT_IT = frozenset({Role.COOLING, Role.LIGHTING, Role.UPS_LOSS})
"""What is taken off where it hangs below a meter of IT."""


def path_of(meter_id: str, meters: Mapping[str, MeterFacts]) -> list[str]:
    """Ids from the topmost meter down to this one.

    Raises:
        ValueError: a parent that is not declared, or a circle.
    """
    path = [meter_id]
    while parent := meters[path[-1]].parent:
        if parent not in meters:
            raise ValueError(f"meter {path[-1]!r}: parent {parent!r} is not a meter of this site")
        if parent in path:
            raise ValueError(f"meters form a loop: {' > '.join([parent, *reversed(path)])}")
        path.append(parent)
    return path[::-1]


def refuse_unsound(declared: Sequence[MeterFacts]) -> None:
    """Check a site's meters.

    Raises:
        ValueError: an id twice, a parent that is not there, a circle, or energy that would be counted twice; the message names
            the path.
    """
    meters = {meter.id: meter for meter in declared}
    if len(meters) < len(declared):
        ids = [meter.id for meter in declared]
        raise ValueError(f"duplicate meter id {next(i for i in ids if ids.count(i) > 1)!r}")
    for meter in declared:
        path = path_of(meter.id, meters)
        deeper = next((meters[i] for i in path[:-1] if _turned_round(meters[i], meter)), None)
        if deeper is not None:
            raise ValueError(
                f"{' > '.join(path)}: {meter.id!r} at {meter.position} is below {deeper.id!r} at {deeper.position}, but "
                "energy flows from UPS to PDU to equipment; swap them, or change one of the positions"
            )
        other = next((meters[i] for i in path[:-1] if meter.role is Role.IT and meters[i].role in NOT_IT), None)
        if other is not None:
            raise ValueError(
                f"{' > '.join(path)}: {meter.id!r} is IT and is below {other.id!r}, which is counted as {other.role}; "
                "add a separate meter for that role, or remove the role"
            )
        above = next((meters[i] for i in path[:-1] if _same_sum(meters[i], meter)), None)
        if above is not None:
            raise ValueError(
                f"{' > '.join(path)}: {meter.id!r} is below {above.id!r} and both are counted as {_sum_name(meter)}, so "
                "its energy would be counted twice; change the position or role of one of them, or remove it"
            )


def nearest(meter_id: str, meters: Mapping[str, MeterFacts], among: Iterable[str]) -> str:
    """The nearest meter above this one that is among these; "" if none of them is above it."""
    wanted = set(among)
    return next((i for i in reversed(path_of(meter_id, meters)[:-1]) if i in wanted), "")


def meters_of_role(meters: Iterable[MeterFacts], role: Role, position: Position | None = None) -> list[MeterFacts]:
    """The meters whose sum is the energy of a role (of `it`: at a position); none of them is above another."""
    return [m for m in meters if m.role is role and m.position is position]


def below(top: Iterable[MeterFacts], meters: Mapping[str, MeterFacts]) -> list[MeterFacts]:
    """What is not IT and hangs below one of `top`, without what hangs below another such."""
    ids = {meter.id for meter in top}
    children = []
    for meter in meters.values():
        above = path_of(meter.id, meters)[:-1]
        if meter.role in NOT_IT and ids.intersection(above) and not any(meters[i].role in NOT_IT for i in above):
            children.append(meter)
    return children


def _same_sum(above: MeterFacts, meter: MeterFacts) -> bool:
    return above.role is meter.role and above.position is meter.position


def _turned_round(above: MeterFacts, meter: MeterFacts) -> bool:
    both = above.position is not None and meter.position is not None
    return both and above.position.category > meter.position.category  # type: ignore[union-attr]


def _sum_name(meter: MeterFacts) -> str:
    return f"{meter.role} at {meter.position}" if meter.position else str(meter.role)
