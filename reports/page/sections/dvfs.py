"""What steering clocks and power limits saved, signed and with its interval; what was set, and what went wrong."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.language import Say
from reports.page.section import Block, Hidden, Note, Section, Table
from reports.page.sections.headline import claimable


def build(facts: Facts, say: Say) -> tuple[Block, ...] | Hidden:
    """The saving stands outside the inventory."""
    saved = facts.figures["dvfs.saved"]
    actions = facts.by_prefix("dvfs.actions/")
    if saved.value is None and not actions:
        return Hidden(say("nothing was steered"))
    blocks: list[Block] = []
    if saved.value is not None and saved.low is not None and saved.high is not None:
        rows = [
            (say("Saved (estimate)"), wording.energy(saved.value)),
            (say("Interval"), f"{wording.energy(saved.low)} \u2013 {wording.energy(saved.high)}"),
            (say("May be claimed"), claimable(saved.low)),
        ]
        slowdown = facts.figures.get("dvfs.slowdown")
        if slowdown is not None and slowdown.value:
            rows.append((say("Slower by"), wording.percent(slowdown.value)))
        blocks.append(Table(say("Avoided energy"), (), tuple(rows)))
        text = "Avoided energy is an estimate ({method}). It is no part of the inventory, and is subtracted from nothing."
        blocks.append(Note(say(text, method=say(saved.method))))
    groups = facts.of("dvfs.saved", "group")
    if len(groups) > 1:
        told_of = []
        for figure in groups:
            slower = wording.percent(figure.dims["slowdown"]) if "slowdown" in figure.dims else "\u2013"
            told = wording.energy(figure.value) if figure.value else say(figure.reason or "")
            told_of.append((figure.dims["group"], told, wording.span_energy(figure, say) if figure.value else "\u2013", slower))
        heads = (say("Group"), say("saved"), say("interval"), say("slower by"))
        blocks.append(Table(say("By group of devices"), heads, tuple(told_of)))
    if actions:
        named = tuple(
            (f.dims["site"], f.dims["policy"], f.dims["action"], f.dims["outcome"], wording.count(f.value or "0"))
            for f in actions
        )
        columns = (say("Site"), say("Policy"), say("Action"), say("Outcome"), say("Times"))
        blocks.append(Table(say("What was set, refused and put back"), columns, named))
    return tuple(blocks)


SPEC = Section("Clocks and power limits", 45, build, wide=True)
