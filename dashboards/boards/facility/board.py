"""The facility dashboard: PUE and its components, the tree of meters, the overhead by use, the grid and its carbon."""

from dashboards.boards.facility import rows
from dashboards.dashboard import (
    BLUE,
    ORANGE,
    Dashboard,
    DashboardRows,
    Panel,
    PanelQuery,
    PanelRow,
    Variable,
    banded,
    build_rows,
    figure,
    recorded,
    series,
)
from dashboards.promql.sums import over_sites
from dashboards.rules.fleet import CARBON, METER_CARBON
from dashboards.rules.model import end_of
from energy_agent.core.catalogue.node import metric

_GRID = "grid_carbon_intensity_grams_per_kilowatt_hour"
_NO_GRID = "not available: no grid zone or country is configured at the site (grid, docs/site.md)"
_NO_ESTIMATE = (
    "not available: needs the agents' label site, a PUE and the grid of the site (docs/site.md), and the recording rules"
)
_ESTIMATE = "location-based, without contracts. An estimate: for accounting use the report, which applies each cell's factor."


def _grid() -> PanelRow:
    intensity = f"max by (zone, basis) ({series(_GRID, scope='zone')})"
    source = series("source_up", 'source=~"grid:.+"', scope="site_process")
    why = series("source_down_info", 'source=~"grid:.+"', scope="site_process")
    meter = "sum by (site, zone, basis)"
    named = "{{site}}: {{zone}}, {{basis}}"
    return PanelRow(
        "Grid and carbon",
        (
            figure(
                "Carbon per hour, site meters",
                "Power at the site's feeds over five minutes (facility_energy_joules_total, role total) times the current "
                f"intensity of its grid: {_ESTIMATE} Covers the whole building, including other tenants.",
                "massg",
                (PanelQuery(f"3600 * {meter} ({recorded(METER_CARBON, scope='site')})", named),),
                width=6,
                no_value=_NO_GRID + ", or no meter of role total",
            ),
            figure(
                "Carbon per hour, nodes (estimate)",
                f"Power of the nodes times the site's PUE times the current intensity of its grid: {_ESTIMATE} The bounds "
                "include the error of sensors and PUE, not that of the grid intensity.",
                "massg",
                banded(lambda end: f"3600 * sum({recorded(end_of(CARBON, end), scope='site')})"),
                width=8,
                no_value=_NO_ESTIMATE,
            ),
            figure(
                "Carbon in the selected range (estimate)",
                f"Both figures summed over the selected range, with the grid intensity of each minute: {_ESTIMATE}",
                "massg",
                (
                    PanelQuery(f"sum({over_sites(METER_CARBON)})", "meters"),
                    *banded(lambda end: f"sum({over_sites(end_of(CARBON, end))})", "nodes"),
                ),
                width=10,
                no_value=_NO_GRID,
            ),
            Panel(
                "Grid carbon intensity",
                "Grams of CO2e per kWh, by zone and basis (grid_carbon_intensity_grams_per_kilowatt_hour). The basis is "
                "life-cycle or direct emissions; it also shows hours that the source estimated, and yearly factors used for "
                "missing hours.",
                "suffix:g/kWh",
                (PanelQuery(intensity, "{{zone}}: {{basis}}"),),
                minimum=0,
                no_value=_NO_GRID,
            ),
            Panel(
                "Carbon per hour over time (estimate)",
                f"Carbon of the nodes, with the sites' PUE: {_ESTIMATE}",
                "massg",
                banded(lambda end: f"3600 * {meter} ({recorded(end_of(CARBON, end), scope='site')})", named),
                minimum=0,
                no_value=_NO_ESTIMATE,
            ),
            Panel(
                "Basis of the grid carbon intensity",
                "Known zones, with the basis of their figure in words, and its current value.",
                "suffix:g/kWh",
                (PanelQuery(intensity, "intensity"),),
                kind="table",
                width=24,
                height=5,
                no_value=_NO_GRID,
            ),
            Panel(
                "Sources of the grid carbon intensity",
                "Whether each source responded to its last request (source_up of sources grid:...). The best responsive source "
                "is used. Without a value in the last three hours the yearly factor is used, and the basis shows it.",
                "none",
                (
                    PanelQuery(
                        f"max by (instance, source) ({source})",
                        "state",
                        "none",
                        {"1": ("up", BLUE), "0": ("DOWN", ORANGE)},
                    ),
                    PanelQuery(f"max by (instance, source, reason) ({why})", "reason"),
                ),
                kind="table",
                width=24,
                height=6,
                no_value="no source is configured (grid.sources): the yearly factor is used, if there is one",
            ),
        ),
    )


def variables() -> tuple[Variable, ...]:
    """cluster, site and zone, of what site processes export; it begins with one site."""
    selector = '{{__name__=~"{}|{}"{}}}'
    names = (metric("pue_ratio"), metric("pue_absent_info"))
    cluster = 'cluster=~"$cluster"'
    return (
        Variable("cluster", "Cluster", selector.format(*names, "")),
        Variable("site", "Site", selector.format(*names, f",{cluster}"), one=True),
        Variable("zone", "Grid zone", f"{metric(_GRID)}{{{cluster}}}"),
    )


def board() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="wattlens-facility",
        title="Wattlens / Facility and carbon",
        description="PUE with its error, measured or stated; the meter tree, the energy breakdown, the grid and carbon. For "
        "water and contracts see `wattlens pue` and the report.",
        variables=variables(),
        rows=build_rows(rows, DashboardRows({40: _grid})),
    )
