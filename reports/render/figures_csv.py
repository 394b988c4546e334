"""The figures as CSV, one figure per line, for use in spreadsheets and scripts."""

import csv
import io

from energy_agent.core.text import harmless
from reports.figures.facts import Facts
from reports.figures.figure import plain

COLUMNS = (
    "id", "value", "low", "high", "unit", "method", "boundary", "coverage", "dimensions", "factor_ids", "sources", "reason",
)  # fmt: skip
_NUMBERS = (1, 2, 3, 7)


def figures_csv(facts: Facts) -> str:
    """The text; a cell that a spreadsheet would take for a formula begins with an apostrophe, and each is one line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for identity in sorted(facts.figures):
        f = facts.figures[identity]
        dims = "; ".join(f"{name}={value}" for name, value in sorted(f.dims.items()))
        row = (f.id, *map(plain, (f.value, f.low, f.high)), f.unit, f.method, f.boundary, plain(f.coverage), dims,
               " ".join(f.factor_ids), " ".join(f.sources), f.reason)  # fmt: skip
        writer.writerow([(cell or "") if i in _NUMBERS else harmless(cell or "") for i, cell in enumerate(row)])
    return text.getvalue()
