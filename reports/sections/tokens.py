"""Energy per generated token, by workload and by model, with and without the idle time that they held."""

from reports import wording
from reports.facts import Facts
from reports.figures import Figure
from reports.sections._section import Hidden, Note, Section, Table

MOST = 6
CAPTION = "J per generated token, without and with held idle time"


def build(facts: Facts) -> tuple[Table | Note, ...] | Hidden:
    """One row a model, then one a workload."""
    rows = []
    for active in facts.by_prefix("joules_per_token.active/"):
        of = active.id.removeprefix("joules_per_token.active/")
        held = facts.figures[f"joules_per_token.active+idle/{of}"]
        rows.append((_name(facts, active), _cell(active), _cell(held), wording.span(held) if held.value else ""))
    if not rows:
        return Hidden("no tokens in the ledger")
    columns = ("", "active", "active + idle", "bounds")
    blocks: list[Table | Note] = [Table(CAPTION, columns, tuple(rows[:MOST]))]
    if rows[MOST:]:
        blocks.append(Note(f"{len(rows) - MOST} more rows are in the facts document."))
    return tuple(blocks)


def _name(facts: Facts, figure: Figure) -> str:
    workload = figure.dims.get("workload")
    return facts.workloads.get(workload, workload) if workload else f"model {figure.dims['model']}"


def _cell(figure: Figure) -> str:
    return wording.short(figure.value) if figure.value else f"{wording.ABSENT}: {figure.reason}"


SPEC = Section("Energy per token", 30, build)
