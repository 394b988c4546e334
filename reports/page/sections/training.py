"""Energy of training runs (AI Act, Annex XI)."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ABSENT, ENERGY, amounts
from reports.page.labels import label
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """One row per run."""
    runs = facts.of("training.energy", "run")
    if not runs:
        return OmittedSection(say("no_training_steps"))
    rows = []
    for figure in runs:
        name = figure.dims["run"]
        cells = [figure, *(facts.figures[f"training.energy.{b}/run/{name}"] for b in ("node", "facility"))]
        rows.append((name, wording.count(figure.dims["steps"]), cells))
    block = amounts([figure.value for *_, figures in rows for figure in figures], ENERGY)
    texts = iter(block.cells)
    made = tuple((name, steps, *(c for f in figures for c in (next(texts), _bounds(f, say)))) for name, steps, figures in rows)
    heads = (head for b in ("gpu", "node", "facility") for head in (label(f"energy.{b}", say, block.unit), say("bounds")))
    table = ReportTable(say("energy_of_training_runs"), (say("run"), say("steps"), *heads), made)
    return (table, Note(say("energy_of_every_device")))


def _bounds(figure: Figure, say: Translator) -> str:
    return ABSENT if figure.value is None else wording.plus_minus(figure, say)


SPEC = ReportSection("training", 60, build)
