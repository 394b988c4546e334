"""Who to talk to: the workloads that used most, and those that held devices without using them."""

from fractions import Fraction

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY
from reports.page.section import Block, Note, OmittedSection, ReportSection
from reports.page.tables import NUMBER, table

SHOWN = 10
_SHOWN = ("workload", "team", "site")
_COUNTED = ("active_share", "gpu_hours")


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Two ranked tables."""
    largest, idlest = facts.by_prefix("largest/")[:SHOWN], facts.by_prefix("idlest/")[:SHOWN]
    if not largest:
        return OmittedSection(say("no_workload_held_a_device"))
    sites = len(facts.sites) > 1
    heads = ("workload", "team", *(["site"] if sites else []))
    blocks: list[Block] = []
    for title, rows, name in (
        ("used_most", largest, "gpu_energy"),
        ("held_but_idle_most_energy", idlest, "idle_energy"),
    ):
        if rows:
            cells = (
                (name_of, f.dims["team"] or None, *([f.dims["site"]] if sites else []), f.value,
                 wording.percent(f.dims["active_share"]), Fraction(f.dims["gpu_hours"]))
                for f, name_of in zip(rows, distinct_names(rows, say), strict=True)
            )  # fmt: skip
            blocks.append(table(say, title, (*heads, (name, ENERGY), "active_share", ("gpu_hours", NUMBER)), cells))
    total, idle, unheld = (facts.value(i) or Fraction(0) for i in ("energy.gpu", "energy.held.idle", "energy.gpu.unheld"))
    if total:
        wasted = {"share": wording.percent((idle + unheld) / total), "idle": wording.energy(idle)}
        blocks.append(Note(say("energy_without_a_kernel", **wasted, unheld=wording.energy(unheld))))
    return tuple(blocks)


def distinct_names(rows: list[Figure], say: Translator) -> list[str]:
    """Return workload names. If a name is a duplicate within a site and team, add the labels that distinguish it."""
    names = []
    for row in rows:
        alike = [f.dims for f in rows if all(f.dims[key] == row.dims[key] for key in _SHOWN)]
        keys = [key for key in row.dims if key not in _COUNTED and len({dims.get(key) for dims in alike}) > 1]
        name = ", ".join(row.dims[key] or say("unassigned") for key in keys)
        names.append(f"{row.dims['workload']} ({name})" if name else row.dims["workload"])
    return names


SPEC = ReportSection("utilisation_and_idle_waste", 35, build)
