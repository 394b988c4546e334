"""The row of a fleet's sites: their PUE with its basis, and the intensity of their grids with its basis."""

from dashboards.panels import GrafanaRow, band, graph, link, row, table
from dashboards.promql.selectors import recorded
from dashboards.promql.sites import NOW, pue
from dashboards.rules.fleet import CARBON


def at_sites() -> GrafanaRow:
    """The row."""
    per_site = "sum by (site, zone, basis)"
    facility = link("Facility and carbon", "wattlens-facility", "site")
    return row(
        "Sites",
        table(
            "Current PUE by site",
            "Energy of the site divided by that of its IT over the last 15 to 30 minutes, with its 95 % interval "
            "(pue_ratio). Category: IT is metered at the UPS output (1), the PDU output (2) or the equipment (3). Basis: "
            "the PUE is measured, or stated by the operator.",
            "none",
            band(lambda end: pue(end, NOW, by="site, category, basis"), column="PUE", unit="short"),
            width=14,
            decimals=3,
            no_value="no site process is scraped, or no site has a PUE: the Facility and carbon dashboard has the reason",
            links=facility,
        ),
        graph(
            "Carbon per hour by site (estimate)",
            "Power of the nodes times the site's PUE times the current intensity of its grid: location-based. The legend "
            "shows the zone of the grid and the basis of its figure.",
            "massg",
            {"{{site}}: {{zone}}, {{basis}}": f"3600 * {per_site} ({recorded(CARBON, scope='site')})"},
            width=10,
            no_value="not available: needs the agents' label site, that site's PUE and its grid (docs/site.md)",
            links=facility,
        ),
    )


SPEC = {30: at_sites}
