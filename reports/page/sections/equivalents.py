"""What the emissions compare with: cited, dated, and outside the inventory."""

from energy_agent.factors.equivalents import equivalents
from reports.figures import wording
from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.partition import co2e_prefix
from reports.page.section import Block, Note, OmittedSection, ReportSection


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """At most two sentences, each with its citation."""
    figure = facts.figures[f"{co2e_prefix(facts)}location"]
    if figure.value is None:
        return OmittedSection(say.translate(figure.reason))
    blocks: list[Block] = []
    for each in equivalents(figure.value):
        of = each.of
        sentence = each.format_sentence(wording.short(each.value, 2), say.language)
        cited = "; ".join((of.attribution, say.translate(of.edition), say.translate(of.conditions), of.source))
        blocks.append(Note(say("comparable_to", co2e=wording.mass(figure.value), comparison=sentence, source=cited)))
    blocks.append(Note(say("comparisons_are_no_part")))
    return tuple(blocks)


SPEC = ReportSection("for_comparison", 92, build)
