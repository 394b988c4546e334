"""The words of this report, in a sentence each."""

from reports.figures.facts import Facts
from reports.language import Say
from reports.page.glossary import glossary
from reports.page.section import Block, Section, Table


def build(facts: Facts, say: Say) -> tuple[Block, ...]:
    """A table of two columns."""
    return (Table(say("Words"), (), glossary(say.language)),)


SPEC = Section("Glossary", 95, build, wide=True)
