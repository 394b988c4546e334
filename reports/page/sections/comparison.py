"""Why energy and CO2e are other than a quarter and a year ago."""

from fractions import Fraction

from energy_agent.core.units import J_PER_KWH
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Say
from reports.page.section import Block, Hidden, Note, Section, Step, Table, Waterfall
from reports.page.sections.headline import EFFECTS, effect_name

_CHARTS = (
    ("energy", "Energy of all that workloads held", "kWh", Fraction(1, J_PER_KWH)),
    ("co2e", "CO2e of it", "kg", Fraction(1, 1000)),
    ("lifecycle", "Life-cycle CO2e of it", "kg", Fraction(1, 1000)),
    ("serving", "Energy of what generated tokens", "kWh", Fraction(1, J_PER_KWH)),
)


def build(facts: Facts, say: Say) -> tuple[Block, ...] | Hidden:
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
            blocks.append(Table(say("Node energy per token at the earlier mix of models"), (), rows[::-1]))
    if not blocks:
        reasons = sorted({say(f.reason or "") for f in facts.by_prefix("bridge.")})
        return Hidden("; ".join(reasons) or say("no quarter was asked for"))
    blocks.append(
        Note(
            say("Effects sum to the change exactly; each is its mean over every order in which the factors could have changed.")
        )
    )
    return tuple(blocks)


def _waterfall(
    ends: dict[str, Figure], quantity: str, title: str, unit: str, scale: Fraction, facts: Facts, say: Say
) -> Waterfall:
    write = wording.mass if quantity in ("co2e", "lifecycle") else wording.energy
    first, last = ends["from"], ends["to"]
    steps = [Step(first.dims["period"], (first.value or 0) * scale, write(first.value or 0), level=True)]
    for name in EFFECTS:
        if name in ends:
            value = ends[name].value or 0
            steps.append(Step(say(effect_name(name, quantity)), Fraction(value) * scale, write(value)))
    steps.append(Step(facts.label, (last.value or 0) * scale, write(last.value or 0), level=True))
    return Waterfall(
        say("{quantity}: from {before} to {after}", quantity=title, before=first.dims["period"], after=facts.label),
        unit,
        tuple(steps),
    )


SPEC = Section("What changed, and why", 55, build, wide=True)
