"""The words of this report, in a sentence each."""

from reports.facts import Facts
from reports.glossary import glossary
from reports.language import Say
from reports.sections._section import Block, Section, Table


def build(facts: Facts, say: Say) -> tuple[Block, ...]:
    """A table of two columns."""
    return (Table(say("Words"), (), glossary(say.language)),)


SPEC = Section("Glossary", 95, build, wide=True)
