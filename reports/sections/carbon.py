"""Location-based CO2e of the GPU energy, with the factor that made it."""

from reports import wording
from reports.facts import Facts
from reports.sections._section import Hidden, Note, Section, Table


def build(facts: Facts) -> tuple[Table | Note, ...] | Hidden:
    """The total with its interval, and where the factor comes from."""
    total = facts.figures["co2e.location.total"]
    if total.value is None:
        return Hidden(total.reason or "")
    factor = facts.factors[0]
    low, high = (wording.mass(bound) if bound else wording.ABSENT for bound in (total.low, total.high))
    rows = (
        ("CO2e of all GPU energy", wording.mass(total.value)),
        ("Bounds of the measurement", f"{low} to {high}"),
        ("Grid factor", f"{factor.value} {factor.unit}"),
        ("Zone and year", f"{factor.zone_name}, {factor.year}"),
    )
    note = (
        f"{factor.accounting.capitalize()}, {factor.boundary}, {factor.basis} mix. The factor's own error is "
        f"{factor.uncertainty}, so it is not in the interval. {factor.attribution}; {factor.licence}."
    )
    return (Table("Grid CO2e", (), rows), Note(note))


SPEC = Section("Carbon", 50, build)
