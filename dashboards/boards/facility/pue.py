"""The row of a site's PUE: current, over twelve months, by window; whether it is measured or stated, or why it has no value."""

from dashboards.panels import BLUE, ORANGE, PURPLE, GrafanaRow, Query, band, graph, lights, row, stat, table, wide_table
from dashboards.promql.selectors import series
from dashboards.promql.sites import NOW, pue
from dashboards.rules.joules_per_token import CATEGORIES

_NONE = "no PUE: see the table of reasons below; or no site process is scraped"
_NAME = "{{site}}, category {{category}}"
_STATES = {
    "1": ("measured", BLUE),
    "2": ("partly stated", PURPLE),
    "3": ("stated", ORANGE),
}


def _best(end: str) -> str:
    """The PUE now of the highest category that there is, or an end of its band."""
    return " or on (site) ".join(pue(end, NOW, f'category=~"{category}"') for category in CATEGORIES)


def at_site() -> GrafanaRow:
    """The row."""
    year = 'window="365d"'
    marks = (('category=~"[123]"', 1), ('category=~"[123].+"', 2), ('category="stated"', 3))
    basis = " or ".join(f"0 * {series('pue_ratio', NOW, of, scope='site')} + {mark}" for of, mark in marks)
    covered = series("pue_coverage_ratio", scope="site")
    return row(
        "PUE",
        stat(
            "Current PUE, 95 % interval",
            "Energy of the site divided by that of its IT over the last 15 to 30 minutes (pue_ratio, window 15m), or the "
            "PUE that the operator states. The highest available category is shown, with IT metered closest to the "
            "equipment: at the UPS output (1), the PDU output (2) or the equipment input (3). The other categories are in "
            "the table.",
            "none",
            band(_best, _NAME),
            width=12,
            minimum=1,
            decimals=3,
            no_value=_NONE,
        ),
        stat(
            "Twelve-month PUE, 95 % interval",
            "The same over twelve months (pue_ratio, window 365d), the only window that ISO/IEC 30134-2 calls PUE; a "
            "shorter window gives an interim PUE. Shown only if at least nine tenths of the twelve months were metered.",
            "none",
            band(lambda end: pue(end, year), _NAME),
            width=12,
            minimum=1,
            decimals=3,
            no_value="not yet: at least nine tenths of twelve months must be metered; see the table of reasons below",
        ),
        graph(
            "PUE over time, 95 % interval",
            "PUE over the last 15 to 30 minutes (pue_ratio). At least and at most: its 95 % interval, from the accuracy of "
            "meters, the edges of readings and unmeasured energy.",
            "none",
            band(lambda end: pue(end, NOW), _NAME),
            minimum=1,
            decimals=3,
            no_value=_NONE,
        ),
        lights(
            "PUE basis",
            "Whether the current PUE is measured, relies in part on a declared constant, or is stated by the operator "
            "(label category of pue_ratio). Only the first is a measurement.",
            "none",
            {_NAME: f"max by (site, category) ({basis})"},
            states=_STATES,
            no_value=_NONE,
            width=12,
        ),
        wide_table(
            "PUE by category and window",
            "All available PUEs with their interval and coverage: the share of the window in which the PUE's least covered "
            "meter was read (pue_ratio, pue_coverage_ratio). The basis shows whether a PUE was measured; a stated PUE has "
            "no window and no coverage.",
            "none",
            {
                **band(pue, unit="short"),
                "coverage": Query(f"max by (site, category, window) ({covered})", "percentunit"),
            },
            height=6,
            decimals=3,
            no_value=_NONE,
        ),
        table(
            "Reasons for missing PUE",
            "Categories and windows without a PUE, with the reason (pue_absent_info).",
            "none",
            {"absent": f"max by (site, category, window, reason) ({series('pue_absent_info', scope='site')})"},
            no_value="every category and window has a PUE, or no site process is scraped",
        ),
        graph(
            "Coverage",
            "Share of each window in which the PUE's least covered meter was read (pue_coverage_ratio). Below nine tenths, "
            "only the shortest window has a PUE. Missing time counts at the mean power of the same meter.",
            "percentunit",
            {"{{site}}, category {{category}}, {{window}}": f"min by (site, category, window) ({covered})"},
            no_value="no PUE is measured, so there is no coverage",
        ),
    )


SPEC = {10: at_site}
