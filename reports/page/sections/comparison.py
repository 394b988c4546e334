"""Why energy and CO2e are other than a quarter and a year ago."""

from fractions import Fraction

from energy_agent.core.units import J_PER_KWH
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY, MASS, amount_texts, change_texts
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable, Waterfall, WaterfallStep
from reports.page.sections.headline import EFFECTS, effect_name

_CHARTS = (
    ("energy", "energy_of_all_that_workloads", "kWh", Fraction(1, J_PER_KWH)),
    ("co2e", "co2e_of_it", "kg", Fraction(1, 1000)),
    ("lifecycle", "life_cycle_co2e_of_it", "kg", Fraction(1, 1000)),
    ("serving", "energy_of_what_generated_tokens", "kWh", Fraction(1, J_PER_KWH)),
)


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """A waterfall for each quantity and earlier period."""
    blocks: list[Block] = []
    for when in ("before", "year_ago"):
        for quantity, title, unit, scale in _CHARTS:
            ends = {f.dims["effect"]: f for f in facts.by_prefix(f"bridge.{quantity}/{when}/") if f.value is not None}
            if "from" in ends and "to" in ends:
                blocks.append(_waterfall(ends, quantity, say(title), unit, scale, facts, say))
        mix = facts.by_prefix(f"j_per_token.same_mix/{when}/")
        if mix:
            rows = tuple(
                (f.dims["period"] if f.id.endswith("then") else facts.label, f"{wording.short(f.value or 0)} J") for f in mix
            )
            blocks.append(ReportTable(say("node_energy_per_token"), (), rows[::-1]))
    if not blocks:
        reasons = sorted({say.translate(f.reason) for f in facts.by_prefix("bridge.")})
        return OmittedSection("; ".join(reasons) or say("no_quarter_was_asked"))
    blocks.append(Note(say("effects_sum_to_the_change")))
    return tuple(blocks)


def _waterfall(
    ends: dict[str, Figure], quantity: str, title: str, unit: str, scale: Fraction, facts: Facts, say: Translator
) -> Waterfall:
    names = ["from", *(name for name in EFFECTS if name in ends), "to"]
    values = [Fraction(ends[name].value or 0) for name in names]
    units = MASS if quantity in ("co2e", "lifecycle") else ENERGY
    first = ends["from"]
    labels = {"from": first.dims["period"], "to": facts.label}
    steps = [
        WaterfallStep(labels[name], value * scale, level, level=True)
        if name in labels
        else WaterfallStep(say(effect_name(name, quantity)), value * scale, change)
        for name, value, level, change in zip(
            names, values, amount_texts(values, units), change_texts(values, units), strict=True
        )
    ]
    return Waterfall(
        say("quantity_from_before_to_after", quantity=title, before=first.dims["period"], after=facts.label),
        unit,
        tuple(steps),
    )


SPEC = ReportSection("what_changed_and_why", 55, build)
