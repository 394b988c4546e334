"""The rows of a site's meters: their tree, where the energy goes by it, and the nodes' ledger against the meters of IT."""

from dashboards.boards.facility import energy_flow
from dashboards.boards.facility.energy_flow import AT
from dashboards.dashboard import BLUE, ORANGE, RANGE, DashboardRows, Link, Panel, PanelQuery, PanelRow, figure, recorded, series
from dashboards.rules.fleet import POWER, POWER_ERROR

_SITED = 'site!=""'
_NO_METERS = "no meter is declared at this site, or no site process is scraped"
_NO_LABEL = "not known: no agent's target has a label site of this site's name (docs/site.md)"


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
                "Every meter of the site as it is declared (facility_meter_info): what the energy behind it is for, where IT "
                "is metered, and through which meter it flowed before (parent); its power now, its energy in the selected "
                "range, the bound of its gain error and the most that can have flowed unseen (facility_*).",
                "none",
                (
                    PanelQuery(declared, "declared"),
                    PanelQuery(energy_flow.power(), "power", "watt"),
                    PanelQuery(used, "energy", "joule"),
                    PanelQuery(f"max by ({AT}, meter, role) ({gain})", "error", "percentunit"),
                    PanelQuery(f"max by ({AT}, meter, role) (increase({unseen}[{RANGE}]))", "unseen", "joule"),
                    PanelQuery(up, "state", "none", {"1": ("answers", BLUE), "0": ("SILENT", ORANGE)}),
                ),
                kind="table",
                width=24,
                height=10,
                no_value=_NO_METERS,
            ),
            Panel(
                "Power by meter",
                "Power at each meter (facility_power_watts). A meter that is silent, or not believed, has no line.",
                "watt",
                (PanelQuery(energy_flow.power(), "{{site}} {{meter}} ({{role}})"),),
                minimum=0,
                no_value=_NO_METERS,
            ),
            Panel(
                "Unread meters and reasons",
                "Meters that do not answer, or that are not believed, with the reason (source_down_info). What flows "
                "meanwhile is a gap with a bound, unless a register counts on.",
                "none",
                (PanelQuery(silent, "silent"),),
                kind="table",
                no_value="every meter answers and is believed, or no site process is scraped",
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
                "Power by what it is for (facility_power_watts): each meter less those right below it, so that nothing is "
                "counted twice. IT at a position is what is not metered further down: at the last one the equipment, above "
                "it what is lost between the two or metered nowhere. What no meter explains is what the site takes and "
                "makes, less all the others; where that is below 0 the meters contradict each other, and it is drawn as 0.",
                "watt",
                (PanelQuery(f"clamp_min({energy_flow.parts(energy_flow.power)}, 0)", "{{site}}: {{part}}"),),
                minimum=0,
                stacked=True,
                no_value=_NO_METERS,
            ),
            Panel(
                "Energy by part",
                "The same of energy (facility_energy_joules_total), and the share of all that the site took and made. A "
                "meter that was silent shows up once it answers: until then its part is in the meter above it.",
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
                "Power of IT at the topmost position that is metered (facility_power_watts), and what the agents of the "
                "site's nodes account for, GPUs and what is metered around them, over five minutes (gpu_energy_joules_total "
                "and node_nongpu_energy_joules_total). Nodes above the meters is a contradiction; nodes far below are "
                "equipment without an agent or without a meter of the whole node.",
                "watt",
                (
                    PanelQuery(it, "meters of IT"),
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
                "Power of the nodes by their ledgers over that of the meters of IT, now. Above 100 % one of the two is wrong: "
                "a label site at a foreign node, a meter that does not see all.",
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
