"""Energy of training runs (AI Act, Annex XI)."""

from fractions import Fraction

from energy_agent.core.units import J_PER_KWH
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.labels import label
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable

_MWH = Fraction(1, 1000 * J_PER_KWH)


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """One row a run; MWh at three significant digits."""
    runs = facts.of("training.energy", "run")
    if not runs:
        return OmittedSection(say("no_training_steps"))
    rows = []
    for figure in runs:
        name = figure.dims["run"]
        cells = [figure, *(facts.figures[f"training.energy.{b}/run/{name}"] for b in ("node", "facility"))]
        rows.append((name, wording.count(figure.dims["steps"]), *(_mwh(c, say) for c in cells)))
    columns = (say("run"), say("steps"), *(label(f"energy.{b}", say, "MWh") for b in ("gpu", "node", "facility")))
    return (ReportTable(say("energy_of_training_runs"), columns, tuple(rows)), Note(say("energy_of_every_device")))


def _mwh(figure: Figure, say: Translator) -> str:
    if figure.value is None:
        return "\u2013"
    return f"{wording.short(figure.value * _MWH)} {wording.plus_minus(figure, say)}"


SPEC = ReportSection("training", 60, build)
