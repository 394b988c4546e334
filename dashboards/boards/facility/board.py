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
_NO_GRID = "not known: no grid zone or country is configured at the site (grid, docs/site.md)"
_NO_ESTIMATE = "not known: needs the agents' label site, a PUE and the grid of the site (docs/site.md), and the recording rules"
_ESTIMATE = "location-based, with no contracts. An estimate: the book of record is the report, by the factor of each cell."


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
                "Power at the site's feeds (facility_energy_joules_total, role total, five minutes) times the intensity of "
                f"its grid now: {_ESTIMATE} Whole building: other tenants too.",
                "massg",
                (PanelQuery(f"3600 * {meter} ({recorded(METER_CARBON, scope='site')})", named),),
                width=6,
                no_value=_NO_GRID + ", or no meter of role total",
            ),
            figure(
                "Carbon per hour, nodes (estimate)",
                f"Power of the nodes times the site's PUE times the intensity of its grid now: {_ESTIMATE} The band has the "
                "error of sensors and PUE, not the grid's.",
                "massg",
                banded(lambda end: f"3600 * sum({recorded(end_of(CARBON, end), scope='site')})"),
                width=8,
                no_value=_NO_ESTIMATE,
            ),
            figure(
                "Carbon in the selected range (estimate)",
                f"Both added up over the selected range, with the intensity of each minute: {_ESTIMATE}",
                "massg",
                (
                    PanelQuery(f"sum({over_sites(METER_CARBON)})", "at the meters"),
                    *banded(lambda end: f"sum({over_sites(end_of(CARBON, end))})", "nodes"),
                ),
                width=10,
                no_value=_NO_GRID,
            ),
            Panel(
                "Grid carbon intensity",
                "Grams of CO2e per kWh, by zone and basis (grid_carbon_intensity_grams_per_kilowatt_hour). The basis says "
                "whether it is of the life cycle or of the chimney alone, whether an hour was estimated by the source, and "
                "where a yearly factor stands in for it.",
                "suffix:g/kWh",
                (PanelQuery(intensity, "{{zone}}: {{basis}}"),),
                minimum=0,
                no_value=_NO_GRID,
            ),
            Panel(
                "Carbon per hour over time (estimate)",
                f"Of the nodes, with the sites' PUE: {_ESTIMATE}",
                "massg",
                banded(lambda end: f"3600 * {meter} ({recorded(end_of(CARBON, end), scope='site')})", named),
                minimum=0,
                no_value=_NO_ESTIMATE,
            ),
            Panel(
                "Basis of the grid carbon intensity",
                "The zones that are known, with what their figure is, in words, and its value now.",
                "suffix:g/kWh",
                (PanelQuery(intensity, "intensity"),),
                kind="table",
                width=24,
                height=5,
                no_value=_NO_GRID,
            ),
            Panel(
                "Sources of the grid carbon intensity",
                "Whether each source answered when it was last asked (source_up of sources grid:...); the best that answers "
                "is shown. With none of the last three hours the yearly factor stands in, which the basis says.",
                "none",
                (
                    PanelQuery(
                        f"max by (instance, source) ({source})",
                        "state",
                        "none",
                        {"1": ("answers", BLUE), "0": ("DOWN", ORANGE)},
                    ),
                    PanelQuery(f"max by (instance, source, reason) ({why})", "why"),
                ),
                kind="table",
                width=24,
                height=6,
                no_value="no source is configured (grid.sources): the yearly factor stands in, or nothing does",
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
        description="PUE with its error, measured or stated; the tree of meters, where the overhead goes, the grid and carbon. "
        "Water and contracts are in `wattlens pue` and in the report.",
        variables=variables(),
        rows=build_rows(rows, DashboardRows({40: _grid})),
    )
