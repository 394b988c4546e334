"""The row of a site's grid: its carbon intensity and sources, and the carbon of the energy."""

from dashboards.panels import BLUE, ORANGE, GrafanaRow, Query, band, graph, row, stat, wide_table
from dashboards.promql.selectors import over_sites, recorded, series
from dashboards.rules.fleet import CARBON, METER_CARBON
from dashboards.rules.model import end_of

_GRID = "grid_carbon_intensity_grams_per_kilowatt_hour"
_NO_GRID = "not available: no grid zone or country is configured at the site (grid, docs/site.md)"
_NO_ESTIMATE = (
    "not available: needs the agents' label site, a PUE and the grid of the site (docs/site.md), and the recording rules"
)
_ESTIMATE = "location-based, without contracts. An estimate: for accounting use the report, which applies each cell's factor."


def grid() -> GrafanaRow:
    """The grid that feeds a site, and the carbon of its energy."""
    intensity = f"max by (zone, basis) ({series(_GRID, scope='zone')})"
    source = series("source_up", 'source=~"grid:.+"', scope="site_process")
    why = series("source_down_info", 'source=~"grid:.+"', scope="site_process")
    meter = "sum by (site, zone, basis)"
    named = "{{site}}: {{zone}}, {{basis}}"
    return row(
        "Grid and carbon",
        stat(
            "Carbon per hour, site meters",
            "Power at the site's feeds over five minutes (facility_energy_joules_total, role total) times the current "
            f"intensity of its grid: {_ESTIMATE} Covers the whole building, including other tenants.",
            "massg",
            {named: f"3600 * {meter} ({recorded(METER_CARBON, scope='site')})"},
            width=6,
            no_value=_NO_GRID + ", or no meter of role total",
        ),
        stat(
            "Carbon per hour, nodes (estimate)",
            f"Power of the nodes times the site's PUE times the current intensity of its grid: {_ESTIMATE} The bounds "
            "include the error of sensors and PUE, not that of the grid intensity.",
            "massg",
            band(lambda end: f"3600 * sum({recorded(end_of(CARBON, end), scope='site')})"),
            width=8,
            no_value=_NO_ESTIMATE,
        ),
        stat(
            "Carbon in the selected range (estimate)",
            f"Both figures summed over the selected range, with the grid intensity of each minute: {_ESTIMATE}",
            "massg",
            {
                "meters": f"sum({over_sites(METER_CARBON)})",
                **band(lambda end: f"sum({over_sites(end_of(CARBON, end))})", "nodes"),
            },
            width=10,
            no_value=_NO_GRID,
        ),
        graph(
            "Grid carbon intensity",
            "Grams of CO2e per kWh, by zone and basis (grid_carbon_intensity_grams_per_kilowatt_hour). The basis is "
            "life-cycle or direct emissions; it also shows hours that the source estimated, and yearly factors used for "
            "missing hours.",
            "suffix:g/kWh",
            {"{{zone}}: {{basis}}": intensity},
            no_value=_NO_GRID,
        ),
        graph(
            "Carbon per hour over time (estimate)",
            f"Carbon of the nodes, with the sites' PUE: {_ESTIMATE}",
            "massg",
            band(lambda end: f"3600 * {meter} ({recorded(end_of(CARBON, end), scope='site')})", named),
            no_value=_NO_ESTIMATE,
        ),
        wide_table(
            "Basis of the grid carbon intensity",
            "Known zones, with the basis of their figure in words, and its current value.",
            "suffix:g/kWh",
            {"intensity": intensity},
            height=5,
            no_value=_NO_GRID,
        ),
        wide_table(
            "Sources of the grid carbon intensity",
            "Whether each source responded to its last request (source_up of sources grid:...). The best responsive source "
            "is used. Without a value in the last three hours the yearly factor is used, and the basis shows it.",
            "none",
            {
                "state": Query(f"max by (instance, source) ({source})", "none", {"1": ("up", BLUE), "0": ("DOWN", ORANGE)}),
                "reason": f"max by (instance, source, reason) ({why})",
            },
            height=6,
            no_value="no source is configured (grid.sources): the yearly factor is used, if there is one",
        ),
    )


SPEC = {40: grid}
