"""What steering clocks and power limits saved, signed and with its interval; what was set, and what went wrong."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable
from reports.page.tables import Cell, cell, table


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """The saving stands outside the inventory."""
    saved, claimed, lost = (facts.figures[f"dvfs.{quantity}"] for quantity in ("saved", "claimed", "lost"))
    actions, pairs = facts.by_prefix("dvfs.actions/"), facts.figures.get("dvfs.pairs")
    if saved.value is None and not actions and pairs is None:
        return OmittedSection(say("nothing_was_steered"))
    blocks: list[Block] = []
    if saved.value is not None and saved.low is not None and saved.high is not None:
        rows = [
            (say("saved_estimate"), wording.energy(saved.value)),
            (say("interval"), f"{wording.energy(saved.low)} \u2013 {wording.energy(saved.high)}"),
            (say("may_be_claimed"), wording.energy(claimed.value or 0)),
            (say("lost_estimate"), wording.energy(lost.value or 0)),
        ]
        slowdown = facts.figures.get("dvfs.slowdown")
        if slowdown is not None and slowdown.value:
            rows.append((say("slower_head"), wording.percent(slowdown.value)))
        if pairs is not None:
            excluded = facts.figures["dvfs.pairs.excluded"]
            counts = {"used": wording.count(pairs.value or 0), "excluded": wording.count(excluded.value or 0)}
            rows.append((say("pairs_of_blocks"), say("used_and_excluded_pairs", **counts)))
        blocks.append(ReportTable(say("avoided_energy"), (), tuple(rows)))
        blocks.append(Note(say("avoided_energy_is_an_estimate", method=say.translate(saved.method))))
        blocks.append(Note(say("what_may_be_claimed")))
    else:
        blocks.append(Note(say("no_saving_is_told", reason=say.translate(saved.reason))))
    if groups := facts.of("dvfs.saved", "group"):
        ends = ((head, ENERGY) for head in ("saved", "at_least", "at_most", "may_be_claimed"))
        cells = (_group(facts, figure, say) for figure in groups)
        blocks.append(table(say, "by_group_of_devices", ("site", "group", *ends, "slower"), cells))
    if unused := facts.of("dvfs.pairs.excluded", "why"):
        why = [(say.translate(figure.dims["why"]), wording.count(figure.value or 0)) for figure in unused]
        blocks.append(table(say, "pairs_of_blocks_that_are_not", ("why", "pairs"), why))
    if actions:
        names = ("site", "policy", "action", "outcome")
        times = [(*(f.dims[name] for name in names), wording.count(f.value or 0)) for f in actions]
        blocks.append(table(say, "what_was_set_refused", (*names, "times"), times))
    return tuple(blocks)


def _group(facts: Facts, figure: Figure, say: Translator) -> tuple[Cell, ...]:
    claimed, slowdown = (facts.value(figure.id.replace("saved", name, 1)) for name in ("claimed", "slowdown"))
    slower = say.translate(figure.reason) if figure.value is None else cell(slowdown, wording.percent)
    return (figure.dims["site"], figure.dims["group"], figure.value, figure.low, figure.high, claimed, slower)


SPEC = ReportSection("clocks_and_power_limits", 45, build)
