"""The row of a site's PUE: current, over twelve months, by window; whether it is measured or stated, or why it has no value."""

from dashboards.boards.sites import NOW, pue
from dashboards.dashboard import BLUE, ORANGE, PURPLE, DashboardRows, Panel, PanelQuery, PanelRow, banded, figure, series
from dashboards.rules.pue import CATEGORIES

_NONE = "no PUE: the table of reasons below says why, or no site process is scraped"
_NAME = "{{site}}, category {{category}}"
_STATES = {
    "1": ("measured", BLUE),
    "2": ("partly stated", PURPLE),
    "3": ("stated", ORANGE),
}


def _best(end: str) -> str:
    """The PUE now of the highest category that there is, or an end of its band."""
    return " or on (site) ".join(pue(end, NOW, f'category=~"{category}"') for category in CATEGORIES)


def at_site() -> PanelRow:
    """The row."""
    year = 'window="365d"'
    marks = (('category=~"[123]"', 1), ('category=~"[123].+"', 2), ('category="stated"', 3))
    basis = " or ".join(f"0 * {series('pue_ratio', NOW, of, scope='site')} + {mark}" for of, mark in marks)
    covered = series("pue_coverage_ratio", scope="site")
    return PanelRow(
        "PUE",
        (
            figure(
                "Current PUE, 95 % interval",
                "Energy of the site over that of its IT since the last but one quarter of an hour (pue_ratio, window 15m), or "
                "the one that the operator states. Of the highest category that there is, where IT is metered closest to the "
                "equipment: at the output of the UPS (1), of the PDUs (2), or at its input (3). The others are in the table.",
                "none",
                banded(_best, _NAME),
                width=12,
                minimum=1,
                decimals=3,
                no_value=_NONE,
            ),
            figure(
                "Twelve-month PUE, 95 % interval",
                "The same over twelve months (pue_ratio, window 365d), the only window that ISO/IEC 30134-2 calls PUE; over "
                "less it is an interim one. There only where nine tenths of the twelve months were metered.",
                "none",
                banded(lambda end: pue(end, year), _NAME),
                width=12,
                minimum=1,
                decimals=3,
                no_value="not yet: nine tenths of twelve months have to be metered; the table of reasons below has more",
            ),
            Panel(
                "PUE over time, 95 % interval",
                "The PUE of the last quarter of an hour (pue_ratio); at least and at most are the ends of its 95 % interval, "
                "which has the accuracy of the meters, the edges of readings, and what nobody saw.",
                "none",
                banded(lambda end: pue(end, NOW), _NAME),
                minimum=1,
                decimals=3,
                no_value=_NONE,
            ),
            Panel(
                "PUE basis",
                "Whether the PUE of the last quarter of an hour is made of meters alone, partly of a constant that somebody "
                "declared, or is a number that the operator states (label category of pue_ratio). Only the first is a "
                "measurement.",
                "none",
                (PanelQuery(f"max by (site, category) ({basis})", _NAME),),
                kind="states",
                states=_STATES,
                no_value=_NONE,
            ),
            Panel(
                "PUE by category and window",
                "Every PUE that there is, with its interval and the share of its window in which the least covered of its "
                "meters was read (pue_ratio, pue_coverage_ratio). The basis says whether it was measured; a stated one has "
                "no window and no coverage.",
                "none",
                (
                    *banded(pue, unit="short"),
                    PanelQuery(f"max by (site, category, window) ({covered})", "coverage", "percentunit"),
                ),
                kind="table",
                width=24,
                height=6,
                decimals=3,
                no_value=_NONE,
            ),
            Panel(
                "Reasons for missing PUE",
                "Categories and windows without a PUE, with the reason (pue_absent_info).",
                "none",
                (PanelQuery(f"max by (site, category, window, reason) ({series('pue_absent_info', scope='site')})", "absent"),),
                kind="table",
                no_value="every category and window has a PUE, or no site process is scraped",
            ),
            Panel(
                "Coverage",
                "Share of each window in which the least covered meter of the PUE was read (pue_coverage_ratio). Below nine "
                "tenths there is no PUE of a window but the shortest; what is missing is put in at the mean power of the "
                "same meter.",
                "percentunit",
                (PanelQuery(f"min by (site, category, window) ({covered})", "{{site}}, category {{category}}, {{window}}"),),
                minimum=0,
                maximum=1,
                no_value="no PUE is measured, so nothing is covered",
            ),
        ),
    )


SPEC = DashboardRows({10: at_site})
