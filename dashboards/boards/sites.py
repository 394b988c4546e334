"""The row of a fleet's sites: their PUE with its basis, and the intensity of their grids with its basis."""

from dashboards.dashboard import Link, Panel, PanelQuery, PanelRow, banded, recorded, series
from dashboards.rules.fleet import CARBON

NOW = 'window=~"15m|"'
"""Matcher of the shortest window, and of what is stated, which has none."""
WHAT = (("measured", "[123]"), ("partly stated", "[123].+"), ("stated", "stated"))
"""What a PUE is, in words, by the label `category`."""


def in_words(expr: str) -> str:
    """A PUE with a label `basis`: measured or stated."""
    for text, category in WHAT:
        expr = f'label_replace({expr}, "basis", "{text}", "category", "{category}")'
    return expr


def pue(end: str = "", *matchers: str, by: str = "site, category, window, basis") -> str:
    """PUE of sites, by category and window, or an end of its band."""
    return f"max by ({by}) ({in_words(series(f'pue_ratio{end}', *matchers, scope='site'))})"


def at_sites() -> PanelRow:
    """The row."""
    per_site = "sum by (site, zone, basis)"
    facility = Link("Facility and carbon", "wattlens-facility", {"site": "site"})
    return PanelRow(
        "Sites",
        (
            Panel(
                "Current PUE by site",
                "Energy of the site divided by that of its IT over the last 15 to 30 minutes, with its 95 % interval "
                "(pue_ratio). Category: IT is metered at the UPS output (1), the PDU output (2) or the equipment (3). Basis: "
                "the PUE is measured, or stated by the operator.",
                "none",
                banded(lambda end: pue(end, NOW, by="site, category, basis"), column="PUE", unit="short"),
                kind="table",
                width=14,
                decimals=3,
                no_value="no site process is scraped, or no site has a PUE: the Facility and carbon dashboard has the reason",
                links=(facility,),
            ),
            Panel(
                "Carbon per hour by site (estimate)",
                "Power of the nodes times the site's PUE times the current intensity of its grid: location-based. The legend "
                "shows the zone of the grid and the basis of its figure.",
                "massg",
                (PanelQuery(f"3600 * {per_site} ({recorded(CARBON, scope='site')})", "{{site}}: {{zone}}, {{basis}}"),),
                width=10,
                minimum=0,
                no_value="not available: needs the agents' label site, that site's PUE and its grid (docs/site.md)",
                links=(facility,),
            ),
        ),
    )
