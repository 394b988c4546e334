"""Energy by device, the largest first."""

from fractions import Fraction

from reports import wording
from reports.facts import Facts
from reports.figures import microjoules
from reports.sections._section import Hidden, Note, Section, Table

MOST = 8


def build(facts: Facts) -> tuple[Table | Note, ...] | Hidden:
    """One row a device; a large fleet shows its largest."""
    figures = sorted(facts.by_prefix("energy.device/"), key=lambda f: (-microjoules(f), f.id))
    if not figures:
        return Hidden("no energy in the period")
    total = facts.conservation.device_uj or 1
    rows: list[tuple[str, ...]] = []
    for figure in figures[:MOST]:
        uuid = figure.dims["device"]
        name = facts.devices[uuid]
        label = f"{name.node} {uuid[:12]}"
        share = wording.percent(Fraction(microjoules(figure), total))
        rows.append((label, name.sku, wording.energy(figure.value or "0"), wording.plus_minus(figure), share))
    skus = {row[1] for row in rows}
    columns: tuple[str, ...] = ("Device", "Model", "Energy", "Bounds", "Share")
    caption = "Energy by device"
    if len(skus) == 1:  # one model for all: say it once
        caption = f"{caption}, all {skus.pop()}" if rows[0][1] else caption
        columns = (columns[0], *columns[2:])
        rows = [(row[0], *row[2:]) for row in rows]
    blocks: list[Table | Note] = [Table(caption, columns, tuple(rows))]
    if figures[MOST:]:
        rest = Fraction(sum(microjoules(f) for f in figures[MOST:]), total)
        blocks.append(Note(f"{len(figures) - MOST} more devices hold {wording.percent(rest)}; each is in the facts document."))
    return tuple(blocks)


SPEC = Section("Devices", 40, build)
