"""The report as one self-contained, printable HTML page: no script, no font and no address is fetched."""

import itertools
from typing import Any

import reports.sections
from energy_agent.core import plugin
from reports.facts import Facts
from reports.render.svg_bars import svg_bars
from reports.sections._section import Hidden, Section

TEMPLATE = "report.html.j2"


def hidden_sections(facts: Facts) -> dict[str, str]:
    """Sections that this page does not show, by title, and why."""
    built = ((section, section.build(facts)) for section in _sections())
    return {section.title: blocks.reason for section, blocks in built if isinstance(blocks, Hidden)}


def page(facts: Facts) -> str:
    """The page."""
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["day_time"] = lambda instant: instant.replace("T", " ").removesuffix("Z")
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["bars"] = lambda chart: markupsafe.Markup(svg_bars(chart))  # noqa: S704 - it escapes every text itself
    shown: list[tuple[Section, Any]] = []
    for section in _sections():
        blocks = section.build(facts)
        if not isinstance(blocks, Hidden):
            shown.append((section, blocks))
    rows = [(wide, list(row)) for wide, row in itertools.groupby(shown, key=lambda pair: pair[0].wide)]
    return environment.get_template(TEMPLATE).render(facts=facts, rows=rows, hidden=hidden_sections(facts))


def _sections() -> list[Section]:
    found: dict[str, Section] = plugin.discover(reports.sections)
    return sorted(found.values(), key=lambda section: (section.order, section.title))
