"""Recording rules for Prometheus: the one PUE of each site that its nodes' energy is taken times, and its error.

A site exports a PUE for every category that its meters allow and for several windows. The rules take the newest window and of
it the highest category, where IT is metered closest to the equipment (ISO/IEC 30134-2); a stated PUE is the last choice.
"""

from collections.abc import Iterator

from dashboards.rules.model import PUE, PUE_ERROR, RecordingRule
from energy_agent.core.catalogue.node import metric

CATEGORIES = ("3.*", "2.*", "1.*", "stated")
"""Of the label `category`, the best first."""
WINDOWS = "15m|"
"""Of the label `window`; a stated PUE has none."""


def pue_rules() -> Iterator[RecordingRule]:
    """The rules, before those that use them."""
    ratio, now = metric("pue_ratio"), f'window=~"{WINDOWS}"'
    best = [f'max by (site, category) ({ratio}{{{now},category=~"{category}"}})' for category in CATEGORIES]
    yield RecordingRule(PUE, " or on (site) ".join(best))
    above = f"max by (site, category) ({metric('pue_ratio_upper')}{{{now}}}) - on (site, category) {PUE}"
    below = f"{PUE} - on (site, category) min by (site, category) ({metric('pue_ratio_lower')}{{{now}}})"
    yield RecordingRule(PUE_ERROR, f"({above}) > ({below}) or ({below})")
