"""The rows of a site's meters: their tree, where the energy goes by it, and the nodes' ledger against the meters of IT."""

from dashboards.boards.facility import energy_flow
from dashboards.boards.facility.energy_flow import AT
from dashboards.dashboard import BLUE, ORANGE, RANGE, DashboardRows, Link, Panel, PanelQuery, PanelRow, figure, recorded, series
from dashboards.rules.fleet import POWER, POWER_ERROR

_SITED = 'site!=""'
_NO_METERS = "no meter is declared at this site, or no site process is scraped"
_NO_LABEL = "not available: no agent's target has this site in its label site (docs/site.md)"


def _of_meter(name: str, *matchers: str) -> str:
    """A series of sources, by the meter that the source reads."""
    mine = series(name, 'source=~"facility:.+"', *matchers, scope="site_process")
    return f'label_replace({mine}, "meter", "$1", "source", "facility:(.+)")'


def tree() -> PanelRow:
    """The meters one by one."""
    gain, unseen = (series(f"facility_energy_{n}", scope="site") for n in ("gain_uncertainty_ratio", "gap_bound_joules_total"))
    facts = energy_flow.info()
    declared = f"max by ({AT}, meter, role, position, parent, zone, source) ({facts})"
    join = f"on (job, instance, meter) group_left (site, role) {facts}"
    up = f"max by ({AT}, meter, role) ({_of_meter('source_up')} * {join})"
    silent = f"max by ({AT}, meter, role, reason) ({_of_meter('source_down_info')} * {join})"
    used = energy_flow.energy()
    return PanelRow(
        "Meters",
        (
            Panel(
                "Meter tree",
                "Declared meters of the site (facility_meter_info): the use of their energy (role), the position of IT "
                "metering and the meter upstream (parent); current power, energy in the selected range, bound of the gain "
                "error and upper bound of unmeasured energy (facility_*).",
                "none",
                (
                    PanelQuery(declared, "declared"),
                    PanelQuery(energy_flow.power(), "power", "watt"),
                    PanelQuery(used, "energy", "joule"),
                    PanelQuery(f"max by ({AT}, meter, role) ({gain})", "error", "percentunit"),
                    PanelQuery(f"max by ({AT}, meter, role) (increase({unseen}[{RANGE}]))", "unmeasured", "joule"),
                    PanelQuery(up, "state", "none", {"1": ("up", BLUE), "0": ("DOWN", ORANGE)}),
                ),
                kind="table",
                width=24,
                height=10,
                no_value=_NO_METERS,
            ),
            Panel(
                "Power by meter",
                "Power at each meter (facility_power_watts). A meter without a response or with implausible readings has no "
                "line.",
                "watt",
                (PanelQuery(energy_flow.power(), "{{site}} {{meter}} ({{role}})"),),
                minimum=0,
                no_value=_NO_METERS,
            ),
            Panel(
                "Unread meters and reasons",
                "Meters without a response or with implausible readings, with the reason (source_down_info). Their energy "
                "meanwhile is a gap with an upper bound, unless the meter's register keeps counting.",
                "none",
                (PanelQuery(silent, "down"),),
                kind="table",
                no_value="every meter responds with plausible readings, or no site process is scraped",
            ),
        ),
    )


def overhead() -> PanelRow:
    """Where the energy goes, and whether the ledger agrees."""
    it = energy_flow.it(energy_flow.power)
    nodes, error = (f"sum by ({AT}) ({recorded(name, _SITED, scope='site')})" for name in (POWER, POWER_ERROR))
    fleet = Link("Fleet", "wattlens-fleet", {"site": "site"})
    return PanelRow(
        "Energy breakdown",
        (
            Panel(
                "Power by part of the meter tree",
                "Power by use (facility_power_watts): each meter minus the meters directly below it, so that nothing is "
                "counted twice. At the last metered position, IT is the equipment. At the positions above it, IT is losses, "
                "and equipment without a meter further down. The part that no meter explains is the site's supply minus all "
                "other parts. If it is below 0, the meters contradict each other, and it is drawn as 0.",
                "watt",
                (PanelQuery(f"clamp_min({energy_flow.parts(energy_flow.power)}, 0)", "{{site}}: {{part}}"),),
                minimum=0,
                stacked=True,
                no_value=_NO_METERS,
            ),
            Panel(
                "Energy by part",
                "The same for energy (facility_energy_joules_total), with the share of the site's supply. The energy of an "
                "unresponsive meter is included in the meter above it until it responds again.",
                "joule",
                (
                    PanelQuery(energy_flow.parts(energy_flow.energy), "energy"),
                    PanelQuery(
                        f"{energy_flow.parts(energy_flow.energy)} / on ({AT}) group_left ()"
                        f" ({energy_flow.supply(energy_flow.energy)} > 0)",
                        "share",
                        "percentunit",
                    ),
                ),
                kind="table",
                no_value=_NO_METERS,
            ),
            Panel(
                "Node ledgers and IT meters",
                "IT power at the topmost metered position (facility_power_watts), and GPU and non-GPU power that the agents of "
                "the site's nodes record, over five minutes (gpu_energy_joules_total and node_nongpu_energy_joules_total). "
                "Nodes above the meters are a contradiction. Nodes far below mean equipment without an agent or without a "
                "whole-node meter.",
                "watt",
                (
                    PanelQuery(it, "IT meters"),
                    PanelQuery(nodes, "nodes"),  # without the site, which is one: Grafana fills a band between fixed names only
                    PanelQuery(f"{nodes} - {error}", "nodes, at least"),
                    PanelQuery(f"{nodes} + {error}", "nodes, at most"),
                ),
                minimum=0,
                no_value=_NO_LABEL,
                links=(fleet,),
            ),
            figure(
                "Share of IT energy recorded by nodes",
                "Power in the nodes' ledgers divided by the power of the IT meters, now. Above 100 % one of them is wrong: a "
                "node with another site's label, or a meter that does not cover all equipment.",
                "percent",
                (PanelQuery(f"100 * {nodes} / on ({AT}) ({it} > 0)", "share"),),
                width=12,
                height=8,
                decimals=1,
                no_value=_NO_LABEL,
            ),
        ),
    )


SPEC = DashboardRows({20: overhead, 30: tree})
