"""The fleet dashboard: power, cost, emissions, waste and savings of the whole fleet, its users, and missing data.

All sums over a fleet come from recorded series (`dashboards/rules/fleet.py`), so that queries are cheap with thousands of GPUs;
the tables link to the dashboard of single GPUs.
"""

from dashboards.boards.fleet import rows
from dashboards.boards.sites import at_sites
from dashboards.dashboard import (
    BLUE,
    ORANGE,
    WH_PER_1000_TOKENS,
    Annotation,
    Dashboard,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    Variable,
    banded,
    build_rows,
    figure,
    gpu_power,
    recorded,
    series,
)
from dashboards.promql.joins import proven
from dashboards.promql.sums import GPUS, bucket, gpu_energy, over_fleet, over_sites
from dashboards.rules.fleet import CARBON, FACILITY_POWER, FACT_TOKENS, HOST, POWER, TOKEN_POWER
from dashboards.rules.model import end_of
from dashboards.rules.steering import EXTRA, SAVED
from energy_agent.core.catalogue.node import metric

GPU_BOUNDARY = 'boundary="gpu"'
PRICES = {f"{price:.2f}": f"{price:.2f}" for price in (0.20, 0.05, 0.08, 0.10, 0.12, 0.15, 0.25, 0.30, 0.40, 1.00)}
_J_PER_KWH = 3_600_000
_NO_SITE = "not known: needs the agents' label site, that site's PUE and its grid (docs/site.md), and the recording rules"
_NO_RULES = "no data: no agent is scraped, or the recording rules are not loaded"


def _now() -> PanelRow:
    up = series("gpu_up", scope="fleet")
    simulated, known = (series("node_info", *of, scope="fleet") for of in (('simulated="true"',), ()))
    return PanelRow(
        "Now",
        (
            figure(
                "GPUs",
                "GPUs that answered the last poll, and all that the agents know (gpu_up). Those that do not answer are in "
                "the tables at the end, with the reason.",
                "none",
                (PanelQuery(f"sum({up})", "answering"), PanelQuery(f"count({up})", "known")),
            ),
            figure(
                "Hardware",
                "How many of the nodes run on simulated hardware (node_info). Figures with simulated nodes in them are no "
                "measurements.",
                "none",
                (PanelQuery(f"count({simulated}) or 0 * count({known})", "simulated nodes"),),
                width=3,
                states={"0": ("real", BLUE), "1+": ("SIMULATED", ORANGE)},
                minimum=None,
            ),
            figure(
                "Power",
                "Power of all GPUs that answer (gpu_power_watts), and the mean of five minutes of what the nodes' "
                "meters saw around them (node_nongpu_energy_joules_total), where nodes have one.",
                "watt",
                (
                    PanelQuery(f"sum({gpu_power('fleet')})", "GPUs"),
                    PanelQuery(f"sum({recorded(POWER, bucket(HOST), scope='fleet')})", "nodes without GPUs"),
                ),
                width=5,
                links=(Link("Stack health", "wattlens-stack"),),
            ),
            figure(
                "Facility power (estimate)",
                "Power of the nodes, as far as they are metered, times the PUE of their site over the last quarter of an "
                "hour (pue_ratio), with the ends of the band that sensors and PUE give. Sites without a PUE are not in it. "
                "An estimate: the meters of the building are on the dashboard Facility and carbon.",
                "watt",
                banded(lambda end: f"sum({recorded(end_of(FACILITY_POWER, end), scope='site')})"),
                width=6,
                no_value=_NO_SITE,
                links=(Link("Facility and carbon", "wattlens-facility"),),
            ),
            figure(
                "Carbon per hour (estimate)",
                "That power times the intensity of each site's grid (grid_carbon_intensity_grams_per_kilowatt_hour): "
                "location-based, with no contracts. The band has the error of sensors and PUE, not the grid's. Zone and "
                "basis are in the table of sites below. The book of record is the report.",
                "massg",
                banded(lambda end: f"3600 * sum({recorded(end_of(CARBON, end), scope='site')})"),
                width=6,
                no_value=_NO_SITE,
                links=(Link("Facility and carbon", "wattlens-facility"),),
            ),
        ),
    )


def _selected_range() -> PanelRow:
    tokens = f"(sum({over_fleet(FACT_TOKENS, GPU_BOUNDARY)}) > 0)"
    saved, extra = (proven(name, scope="fleet") for name in (SAVED, EXTRA))
    net = proven(SAVED, scope="fleet", less=EXTRA)
    return PanelRow(
        "Selected range",
        (
            figure(
                "GPU energy",
                "From the energy counters of all GPUs, at an instant of every two minutes (gpu_energy_joules_total), with "
                "the ends of its band: the systematic error of a node's GPUs, which adds up and for which the largest "
                "among them stands, and twice the edge error of each.",
                "joule",
                banded(gpu_energy),
                width=8,
                no_value="no data: choose five minutes or more; no agent is scraped, or the recording rules are not loaded",
            ),
            figure(
                "Energy per 1,000 generated tokens",
                "Energy of the GPUs of all workloads that generated tokens, idle included, over the generated tokens: one "
                "sum over the other (workload_energy_joules_total, tokens_total). GPU boundary: no host, no cooling. A mix "
                "of models: compare one model with itself, in the tables below.",
                WH_PER_1000_TOKENS,
                banded(lambda end: f"sum({over_fleet(end_of(TOKEN_POWER, end), GPU_BOUNDARY)}) / {tokens}"),
                width=8,
                no_value="not measurable: no workload generated tokens, or the recording rules are not loaded",
                links=(Link("Inference", "wattlens-inference"),),
            ),
            figure(
                "Carbon (estimate)",
                "The estimate of above, added up over the selected range with the PUE and the intensity of each minute: "
                "location-based. The band leaves out the grid's own error. The book of record is the report.",
                "massg",
                banded(lambda end: f"sum({over_sites(end_of(CARBON, end))})"),
                width=8,
                no_value=_NO_SITE,
                links=(Link("Facility and carbon", "wattlens-facility"),),
            ),
            figure(
                "Cost at the selected price",
                "Energy of the nodes, as far as they are metered, in kWh times the price that is chosen above, in whatever "
                "currency it is meant; and with the sites' overhead, where there is a PUE. One price for all hours: the "
                "report uses the tariffs of each site by time of use.",
                "none",
                (
                    PanelQuery(f"sum({over_fleet(POWER)}) / {_J_PER_KWH} * $price", "nodes"),
                    PanelQuery(f"sum({over_sites(FACILITY_POWER)}) / {_J_PER_KWH} * $price", "with overhead"),
                ),
                width=8,
                decimals=2,
                no_value=_NO_RULES,
            ),
            figure(
                "DVFS saving",
                "By how much the closed analyses of paired blocks changed what may be claimed (saved), the estimate of losses "
                "(lost) and their difference (net). A figure may fall, and is below 0 where a later analysis took back what an "
                "earlier one had claimed (dvfs_saved_joules, dvfs_extra_joules). The dashboard DVFS has it by group.",
                "joule",
                (PanelQuery(saved, "saved"), PanelQuery(extra, "lost"), PanelQuery(net, "net")),
                width=8,
                minimum=None,
                no_value="nothing is proven yet: DVFS is not configured, or no analysis of paired blocks was closed",
                links=(Link("DVFS", "wattlens-dvfs"),),
            ),
            _idle_share(),
        ),
    )


def _idle_share() -> Panel:
    gpus = f"sum({over_fleet(POWER, GPUS)})"
    return figure(
        "Idle share",
        "Share of the GPUs' energy that went into GPUs which nobody held, and into GPUs that were held while no kernel ran. "
        "By time: a GPU on which a kernel ran counts as used, however little of it worked.",
        "percentunit",
        tuple(
            PanelQuery(f"sum({over_fleet(POWER, bucket(name))}) / ({gpus} > 0)", text)
            for name, text in (("unheld", "unallocated"), ("idle", "allocated, idle"))
        ),
        width=8,
        maximum=1,
        no_value=_NO_RULES,
    )


def variables() -> tuple[Variable, ...]:
    """cluster, job, site, each narrowed by those before it, and the price of energy."""
    build = metric("build_info")
    return (
        Variable("cluster", "Cluster", build),
        Variable("job", "Job", f'{build}{{cluster=~"$cluster"}}'),
        Variable("site", "Site", f'{build}{{cluster=~"$cluster",job=~"$job"}}'),
        Variable("price", "Price per kWh", values=PRICES),
    )


def board() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="wattlens-fleet",
        title="Wattlens / Fleet",
        description="What the fleet draws, costs, emits, wastes and saves, and who uses it; every figure with its error.",
        variables=variables(),
        rows=build_rows(rows, DashboardRows({10: _now, 20: _selected_range, 30: at_sites})),
        annotations=(Annotation("Reports", tags=("wattlens", "report")),),
    )
