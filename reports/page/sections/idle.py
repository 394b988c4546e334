"""Who to talk to: the workloads that used most, and those that held devices without using them."""

from fractions import Fraction

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY, amounts, numbers
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable

SHOWN = 10
_SHOWN = ("workload", "team", "site")
_COUNTED = ("active_share", "gpu_hours")


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Two ranked tables."""
    largest, idlest = facts.by_prefix("largest/")[:SHOWN], facts.by_prefix("idlest/")[:SHOWN]
    if not largest:
        return OmittedSection(say("no_workload_held_a_device"))
    sites = len(facts.sites) > 1
    heads = (say("workload"), say("team"), *([say("site")] if sites else []))
    blocks: list[Block] = []
    for title, rows, name in (
        (say("used_most"), largest, say("gpu_energy")),
        (say("held_but_idle_most_energy"), idlest, say("idle_energy")),
    ):
        if rows:
            block = amounts([f.value for f in rows], ENERGY)
            hours = numbers([Fraction(f.dims["gpu_hours"]) for f in rows])
            cells = tuple(
                (name_of, f.dims["team"] or "\u2013", *([f.dims["site"]] if sites else []), energy,
                 wording.percent(f.dims["active_share"]), hour)
                for f, name_of, energy, hour in zip(rows, distinct_names(rows, say), block.cells, hours, strict=True)
            )  # fmt: skip
            column = say("with_unit", name=name, unit=block.unit)
            blocks.append(ReportTable(title, (*heads, column, say("active_share"), say("gpu_hours")), cells))
    total, idle, unheld = (facts.figures[i] for i in ("energy.gpu", "energy.held.idle", "energy.gpu.unheld"))
    if total.value:
        share = ((idle.value or 0) + (unheld.value or 0)) / total.value
        blocks.append(
            Note(
                say(
                    "energy_without_a_kernel",
                    share=wording.percent(share),
                    idle=wording.energy(idle.value or 0),
                    unheld=wording.energy(unheld.value or 0),
                )
            )
        )
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
