"""The rows of a site's meters: their tree, where the energy goes by it, and the nodes' ledger against the meters of IT."""

from dashboards.panels import BLUE, ORANGE, GrafanaRow, Query, graph, link, row, stat, table, wide_table
from dashboards.promql import sites
from dashboards.promql.selectors import recorded, series
from dashboards.promql.sites import AT
from dashboards.rules.fleet import POWER, POWER_ERROR

_SITED = 'site!=""'
_NO_METERS = "no meter is declared at this site, or no site process is scraped"
_NO_LABEL = "not available: no agent's target has this site in its label site (docs/site.md)"


def _of_meter(name: str, *matchers: str) -> str:
    """A series of sources, by the meter that the source reads."""
    mine = series(name, 'source=~"facility:.+"', *matchers, scope="site_process")
    return f'label_replace({mine}, "meter", "$1", "source", "facility:(.+)")'


def tree() -> GrafanaRow:
    """The meters one by one."""
    gain, unseen = (series(f"facility_energy_{n}", scope="site") for n in ("gain_uncertainty_ratio", "gap_bound_joules_total"))
    facts = sites.info()
    join = f"on (job, instance, meter) group_left (site, role) {facts}"
    return row(
        "Meters",
        wide_table(
            "Meter tree",
            "Declared meters of the site (facility_meter_info): the use of their energy (role), the position of IT "
            "metering and the meter upstream (parent); current power, energy in the selected range, bound of the gain "
            "error and upper bound of unmeasured energy (facility_*).",
            "none",
            {
                "declared": f"max by ({AT}, meter, role, position, parent, zone, source) ({facts})",
                "power": Query(sites.power(), "watt"),
                "energy": Query(sites.energy(), "joule"),
                "error": Query(f"max by ({AT}, meter, role) ({gain})", "percentunit"),
                "unmeasured": Query(f"max by ({AT}, meter, role) (increase({unseen}[$__range]))", "joule"),
                "state": Query(
                    f"max by ({AT}, meter, role) ({_of_meter('source_up')} * {join})",
                    "none",
                    {"1": ("up", BLUE), "0": ("DOWN", ORANGE)},
                ),
            },
            height=10,
            no_value=_NO_METERS,
        ),
        graph(
            "Power by meter",
            "Power at each meter (facility_power_watts). A meter without a response or with implausible readings has no line.",
            "watt",
            {"{{site}} {{meter}} ({{role}})": sites.power()},
            no_value=_NO_METERS,
        ),
        table(
            "Unread meters and reasons",
            "Meters without a response or with implausible readings, with the reason (source_down_info). Their energy "
            "meanwhile is a gap with an upper bound, unless the meter's register keeps counting.",
            "none",
            {"down": f"max by ({AT}, meter, role, reason) ({_of_meter('source_down_info')} * {join})"},
            no_value="every meter responds with plausible readings, or no site process is scraped",
        ),
    )


def overhead() -> GrafanaRow:
    """Where the energy goes, and whether the ledger agrees."""
    it = sites.it(sites.power)
    nodes, error = (f"sum by ({AT}) ({recorded(name, _SITED, scope='site')})" for name in (POWER, POWER_ERROR))
    return row(
        "Energy breakdown",
        graph(
            "Power by part of the meter tree",
            "Power by use (facility_power_watts): each meter minus the meters directly below it, so that nothing is "
            "counted twice. At the last metered position, IT is the equipment. At the positions above it, IT is losses, "
            "and equipment without a meter further down. The part that no meter explains is the site's supply minus all "
            "other parts. If it is below 0, the meters contradict each other, and it is drawn as 0.",
            "watt",
            {"{{site}}: {{part}}": f"clamp_min({sites.parts(sites.power)}, 0)"},
            stacked=True,
            no_value=_NO_METERS,
        ),
        table(
            "Energy by part",
            "The same for energy (facility_energy_joules_total), with the share of the site's supply. The energy of an "
            "unresponsive meter is included in the meter above it until it responds again.",
            "joule",
            {
                "energy": sites.parts(sites.energy),
                "share": Query(
                    f"{sites.parts(sites.energy)} / on ({AT}) group_left () ({sites.supply(sites.energy)} > 0)",
                    "percentunit",
                ),
            },
            no_value=_NO_METERS,
        ),
        graph(
            "Node ledgers and IT meters",
            "IT power at the topmost metered position (facility_power_watts), and GPU and non-GPU power that the agents of "
            "the site's nodes record, over five minutes (gpu_energy_joules_total and node_nongpu_energy_joules_total). "
            "Nodes above the meters are a contradiction. Nodes far below mean equipment without an agent or without a "
            "whole-node meter.",
            "watt",
            {
                "IT meters": it,
                "nodes": nodes,  # without the site, which is one: Grafana fills a band between fixed names only
                "nodes, at least": f"{nodes} - {error}",
                "nodes, at most": f"{nodes} + {error}",
            },
            no_value=_NO_LABEL,
            links=link("Fleet", "wattlens-fleet", "site"),
        ),
        stat(
            "Share of IT energy recorded by nodes",
            "Power in the nodes' ledgers divided by the power of the IT meters, now. Above 100 % one of them is wrong: a "
            "node with another site's label, or a meter that does not cover all equipment.",
            "percent",
            {"share": f"100 * {nodes} / on ({AT}) ({it} > 0)"},
            width=12,
            height=8,
            decimals=1,
            no_value=_NO_LABEL,
        ),
    )


SPEC = {20: overhead, 30: tree}
