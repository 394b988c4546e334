"""What steering clocks and power limits saved, signed and with its interval; what was set, and what went wrong."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.amounts import ENERGY, amounts
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable


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
    groups = facts.of("dvfs.saved", "group")
    if groups:
        claims = [facts.figures.get(f"dvfs.claimed{f.id.removeprefix('dvfs.saved')}") for f in groups]
        ends = [(f.value, f.low, f.high, c.value if c else None) for f, c in zip(groups, claims, strict=True)]
        block = amounts([end for row in ends for end in row], ENERGY)
        cells = (block.cells[n : n + 4] for n in range(0, len(block.cells), 4))
        units = (say("with_unit", name=say(h), unit=block.unit) for h in ("saved", "at_least", "at_most", "may_be_claimed"))
        heads = (say("site"), say("group"), *units, say("slower"))
        rows_of_groups = tuple(_group(facts, figure, row, say) for figure, row in zip(groups, cells, strict=True))
        blocks.append(ReportTable(say("by_group_of_devices"), heads, rows_of_groups))
    if unused := facts.of("dvfs.pairs.excluded", "why"):
        why = tuple((say.translate(figure.dims["why"]), wording.count(figure.value or 0)) for figure in unused)
        blocks.append(ReportTable(say("pairs_of_blocks_that_are_not"), (say("why"), say("pairs")), why))
    if actions:
        named = tuple(
            (f.dims["site"], f.dims["policy"], f.dims["action"], f.dims["outcome"], wording.count(f.value or 0))
            for f in actions
        )
        columns = (say("site"), say("policy"), say("action"), say("outcome"), say("times"))
        blocks.append(ReportTable(say("what_was_set_refused"), columns, named))
    return tuple(blocks)


def _group(facts: Facts, figure: Figure, cells: tuple[str, ...], say: Translator) -> tuple[str, ...]:
    names, place = (figure.dims["site"], figure.dims["group"]), figure.id.removeprefix("dvfs.saved")
    if figure.value is None:
        return (*names, *cells, say.translate(figure.reason))
    slowdown = facts.figures.get(f"dvfs.slowdown{place}")
    slower = "\u2013" if slowdown is None or slowdown.value is None else wording.percent(slowdown.value)
    return (*names, *cells, slower)


SPEC = ReportSection("clocks_and_power_limits", 45, build)
