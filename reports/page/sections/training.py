"""Energy of training runs (AI Act, Annex XI)."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, Note, OmittedSection, ReportSection
from reports.page.sections.energy import energy_heads
from reports.page.tables import bounds, table


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """One row per run."""
    runs = facts.of("training.energy", "run")
    if not runs:
        return OmittedSection(say("no_training_steps"))
    rows = []
    for figure in runs:
        name = figure.dims["run"]
        figures = [figure, *(facts.figures[f"training.energy.{b}/run/{name}"] for b in ("node", "facility"))]
        rows.append((name, wording.count(figure.dims["steps"]), *(cell for f in figures for cell in (f.value, bounds(f, say)))))
    runs_table = table(say, "energy_of_training_runs", ("run", "steps", *energy_heads()), rows)
    return (runs_table, Note(say("energy_of_every_device")))


SPEC = ReportSection("training", 60, build)
