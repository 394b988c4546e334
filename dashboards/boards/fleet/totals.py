"""Rows of the totals of a fleet: power, cost, emissions and savings, now and in the selected range.

All sums over a fleet come from recorded series (`dashboards/rules/fleet.py`), so that queries are cheap with thousands of GPUs;
the tables link to the dashboard of single GPUs.
"""

from dashboards.panels import BLUE, ORANGE, WH_PER_1000_TOKENS, GrafanaPanel, GrafanaRow, band, link, row, stat
from dashboards.promql.selectors import GPUS, bucket, gpu_energy, gpu_power, over_fleet, over_sites, proven, recorded, series
from dashboards.rules.fleet import CARBON, FACILITY_POWER, FACT_TOKENS, HOST, POWER, TOKEN_POWER
from dashboards.rules.model import end_of
from dashboards.rules.steering import EXTRA, SAVED

GPU_BOUNDARY = 'boundary="gpu"'
_J_PER_KWH = 3_600_000
_NO_SITE = "not available: needs the agents' label site, that site's PUE and its grid (docs/site.md), and the recording rules"
_NO_RULES = "no data: no agent is scraped, or the recording rules are not loaded"


def now() -> GrafanaRow:
    """Size and power of the fleet."""
    up = series("gpu_up", scope="fleet")
    simulated, all_nodes = (series("node_info", *of, scope="fleet") for of in (('simulated="true"',), ()))
    return row(
        "Now",
        stat(
            "GPUs",
            "GPUs that responded to the last poll, and all known GPUs (gpu_up). The tables at the end list unresponsive "
            "GPUs with the reason.",
            "none",
            {"responsive": f"sum({up})", "known": f"count({up})"},
        ),
        stat(
            "Hardware",
            "Nodes on simulated hardware (node_info). Figures that include simulated nodes are not measurements.",
            "none",
            {"simulated nodes": f"count({simulated}) or 0 * count({all_nodes})"},
            width=3,
            states={"0": ("real", BLUE), "1+": ("SIMULATED", ORANGE)},
            minimum=None,
        ),
        stat(
            "Power",
            "Power of all responsive GPUs (gpu_power_watts), and mean non-GPU power over five minutes of the nodes that "
            "have a node meter (node_nongpu_energy_joules_total).",
            "watt",
            {
                "GPUs": f"sum({gpu_power('fleet')})",
                "non-GPU": f"sum({recorded(POWER, bucket(HOST), scope='fleet')})",
            },
            width=5,
            links=link("Stack health", "wattlens-stack"),
        ),
        stat(
            "Facility power (estimate)",
            "Metered power of the nodes times the PUE of their site over the last 15 to 30 minutes (pue_ratio), with "
            "bounds from sensors and PUE. Sites without a PUE are not included. An estimate: the building's meters are on "
            "the Facility and carbon dashboard.",
            "watt",
            band(lambda end: f"sum({recorded(end_of(FACILITY_POWER, end), scope='site')})"),
            width=6,
            no_value=_NO_SITE,
            links=link("Facility and carbon", "wattlens-facility"),
        ),
        stat(
            "Carbon per hour (estimate)",
            "Facility power (estimate) times the intensity of each site's grid "
            "(grid_carbon_intensity_grams_per_kilowatt_hour): location-based, without contracts. The bounds include the "
            "error of sensors and PUE, not that of the grid intensity. Zone and basis are in the table of sites below. For "
            "accounting use the report.",
            "massg",
            band(lambda end: f"3600 * sum({recorded(end_of(CARBON, end), scope='site')})"),
            width=6,
            no_value=_NO_SITE,
            links=link("Facility and carbon", "wattlens-facility"),
        ),
    )


def selected_range() -> GrafanaRow:
    """Energy, carbon, cost and saving."""
    tokens = f"(sum({over_fleet(FACT_TOKENS, GPU_BOUNDARY)}) > 0)"
    return row(
        "Selected range",
        stat(
            "GPU energy",
            "From the energy counters of all GPUs, sampled every two minutes (gpu_energy_joules_total), with bounds: the "
            "systematic error, which adds up and is taken from the node's GPU with the largest one, and twice the edge "
            "error of each GPU.",
            "joule",
            band(gpu_energy),
            width=8,
            no_value="no data: select at least five minutes; or no agent is scraped, or the recording rules are not loaded",
        ),
        stat(
            "Energy per 1,000 generated tokens",
            "GPU energy of all workloads that generated tokens, idle included, divided by their generated tokens "
            "(workload_energy_joules_total, tokens_total). GPUs only: no host, no cooling. A mix of models: compare each "
            "model with itself, in the tables below.",
            WH_PER_1000_TOKENS,
            band(lambda end: f"sum({over_fleet(end_of(TOKEN_POWER, end), GPU_BOUNDARY)}) / {tokens}"),
            width=8,
            no_value="not measurable: no workload generated tokens, or the recording rules are not loaded",
            links=link("Inference", "wattlens-inference"),
        ),
        stat(
            "Carbon (estimate)",
            "The estimate above, summed over the selected range with the PUE and grid intensity of each minute: "
            "location-based. The bounds do not include the error of the grid intensity. For accounting use the report.",
            "massg",
            band(lambda end: f"sum({over_sites(end_of(CARBON, end))})"),
            width=8,
            no_value=_NO_SITE,
            links=link("Facility and carbon", "wattlens-facility"),
        ),
        stat(
            "Cost at the selected price",
            "Metered energy of the nodes in kWh times the price selected above, in the currency of that price; and the "
            "same with the sites' overhead, where a PUE is known. One price applies to all hours; the report uses the "
            "time-of-use tariffs of each site.",
            "none",
            {
                "nodes": f"sum({over_fleet(POWER)}) / {_J_PER_KWH} * $price",
                "with overhead": f"sum({over_sites(FACILITY_POWER)}) / {_J_PER_KWH} * $price",
            },
            width=8,
            decimals=2,
            no_value=_NO_RULES,
        ),
        stat(
            "DVFS saving",
            "Change of the claimable saving from closed analyses of paired blocks (saved), the estimate of losses (lost) "
            "and the difference (net). A figure may fall, and is below 0 where a later analysis withdrew an earlier claim "
            "(dvfs_saved_joules, dvfs_extra_joules). The DVFS dashboard shows it by group.",
            "joule",
            {
                "saved": proven(SAVED, scope="fleet"),
                "lost": proven(EXTRA, scope="fleet"),
                "net": proven(SAVED, scope="fleet", less=EXTRA),
            },
            width=8,
            minimum=None,
            no_value="not proven: DVFS is not configured, paired blocks are off (dvfs.blocks), or none is analysed yet",
            links=link("DVFS", "wattlens-dvfs"),
        ),
        _idle_share(),
    )


def _idle_share() -> GrafanaPanel:
    gpus = f"sum({over_fleet(POWER, GPUS)})"
    return stat(
        "Idle share",
        "Share of GPU energy in unallocated GPUs, and in allocated GPUs without a running kernel. A GPU with a running kernel "
        "counts as used, even if the kernel uses a small part of it.",
        "percentunit",
        {
            text: f"sum({over_fleet(POWER, bucket(name))}) / ({gpus} > 0)"
            for name, text in (("unheld", "unallocated"), ("idle", "allocated, idle"))
        },
        width=8,
        no_value=_NO_RULES,
    )


SPEC = {10: now, 20: selected_range}
