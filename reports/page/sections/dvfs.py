"""What steering clocks and power limits saved, signed and with its interval; what was set, and what went wrong."""

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Say
from reports.page.section import Block, Hidden, Note, Section, Table


def build(facts: Facts, say: Say) -> tuple[Block, ...] | Hidden:
    """The saving stands outside the inventory."""
    saved, claimed, lost = (facts.figures[f"dvfs.{quantity}"] for quantity in ("saved", "claimed", "lost"))
    actions, pairs = facts.by_prefix("dvfs.actions/"), facts.figures.get("dvfs.pairs")
    if saved.value is None and not actions and pairs is None:
        return Hidden(say("nothing was steered"))
    blocks: list[Block] = []
    if saved.value is not None and saved.low is not None and saved.high is not None:
        rows = [
            (say("Saved (estimate)"), wording.energy(saved.value)),
            (say("Interval"), f"{wording.energy(saved.low)} \u2013 {wording.energy(saved.high)}"),
            (say("May be claimed"), wording.energy(claimed.value or 0)),
            (say("Lost (estimate)"), wording.energy(lost.value or 0)),
        ]
        slowdown = facts.figures.get("dvfs.slowdown")
        if slowdown is not None and slowdown.value:
            rows.append((say("Slower by"), wording.percent(slowdown.value)))
        if pairs is not None:
            excluded = facts.figures["dvfs.pairs.excluded"]
            counts = {"used": wording.count(pairs.value or 0), "excluded": wording.count(excluded.value or 0)}
            rows.append((say("Pairs of blocks"), say("{used}, and {excluded} that are not used", **counts)))
        blocks.append(Table(say("Avoided energy"), (), tuple(rows)))
        text = "Avoided energy is an estimate ({method}). It is no part of the inventory, and is subtracted from nothing."
        blocks.append(Note(say(text, method=say(saved.method))))
        text = (
            "The claim is the sum of the changes that the analyses of the period made. It differs from the lower end of the "
            "interval if the period covers only a part of an experiment."
        )
        blocks.append(Note(say(text)))
    else:
        blocks.append(Note(say("No saving is told: {reason}.", reason=say(saved.reason or ""))))
    groups = facts.of("dvfs.saved", "group")
    if groups:
        heads = (say("Site"), say("Group"), say("saved"), say("interval"), say("may be claimed"), say("slower by"))
        blocks.append(Table(say("By group of devices"), heads, tuple(_group(facts, figure, say) for figure in groups)))
    if unused := facts.of("dvfs.pairs.excluded", "why"):
        why = tuple((say(figure.dims["why"]), wording.count(figure.value or 0)) for figure in unused)
        blocks.append(Table(say("Pairs of blocks that are not used"), (say("Why"), say("Pairs")), why))
    if actions:
        named = tuple(
            (f.dims["site"], f.dims["policy"], f.dims["action"], f.dims["outcome"], wording.count(f.value or 0))
            for f in actions
        )
        columns = (say("Site"), say("Policy"), say("Action"), say("Outcome"), say("Times"))
        blocks.append(Table(say("What was set, refused and put back"), columns, named))
    return tuple(blocks)


def _group(facts: Facts, figure: Figure, say: Say) -> tuple[str, ...]:
    names, place = (figure.dims["site"], figure.dims["group"]), figure.id.removeprefix("dvfs.saved")
    if figure.value is None:
        return (*names, say(figure.reason or ""), *("\u2013",) * 3)
    claimed, slowdown = facts.figures[f"dvfs.claimed{place}"], facts.figures.get(f"dvfs.slowdown{place}")
    slower = "\u2013" if slowdown is None or slowdown.value is None else wording.percent(slowdown.value)
    saved = wording.energy(figure.value), wording.span_energy(figure, say)
    return (*names, *saved, wording.energy(claimed.value or 0), slower)


SPEC = Section("Clocks and power limits", 45, build, wide=True)
