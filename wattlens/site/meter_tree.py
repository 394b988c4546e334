"""A site's meters as a tree of lines for a person. Pure."""

from collections.abc import Iterator, Sequence

from energy_agent.core.meters.facility import MeterFacts


def format_tree(meters: Sequence[MeterFacts]) -> Iterator[str]:
    """Yield one line per meter, below its parent."""
    for top in (m for m in meters if not m.parent):
        yield from _branch(top, meters, 0)


def _branch(meter: MeterFacts, meters: Sequence[MeterFacts], depth: int) -> Iterator[str]:
    facts = [str(meter.role)] + ([f"at {meter.position}, category {meter.position.category}"] if meter.position else [])
    facts += [f"zone {meter.zone}"] if meter.zone else []
    facts += [f"within {meter.accuracy_ppm / 10_000:g} %", f"by {meter.source}"]
    yield f"{'  ' * depth}{meter.id}: {', '.join(facts)}"
    for child in (m for m in meters if m.parent == meter.id):
        yield from _branch(child, meters, depth + 1)
