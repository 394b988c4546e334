"""PUE of sites, and the energy flow along a site's tree of meters, without counting a joule twice.

Energy of downstream meters flowed through their upstream meter, so each meter keeps its own reading less those of the meters
directly below it. The IT meters then add up to the IT energy at the topmost metered position, less other loads below it; the
overhead meters add up to the overhead. Energy that the site imports and generates, less both, is not explained by a meter.
These sums equal those of a report. Exported heat is excluded, and the site's own generation is a supply, not a use. The energy
of a silent meter is included in the meter above it.
"""

from collections.abc import Callable

from dashboards.promql.selectors import series

AT = "site"
"""Of all meters: the name of a site is its own over all clusters, as PUE and the ledger have it."""
Flow = Callable[..., str]
"""Matchers -> what meters show: power, or energy over the selected range."""

_TOTAL, _MADE, _IT, _OVERHEAD = 'role="total"', 'role="renewable"', 'role="it"', 'role=~"cooling|ups_loss|lighting"'
_USED = 'role=~"it|cooling|ups_loss|lighting"'
_ROOT, _NOT_ROOT = 'parent=""', 'parent!=""'

NOW = 'window=~"15m|"'
"""Matcher of the shortest window, and of what is stated, which has none."""
_BASES = (("measured", "[123]"), ("partly stated", "[123].+"), ("stated", "stated"))
"""What a PUE is, in words, by the label `category`."""


def _in_words(expr: str) -> str:
    """A PUE with a label `basis`: measured or stated."""
    for text, category in _BASES:
        expr = f'label_replace({expr}, "basis", "{text}", "category", "{category}")'
    return expr


def pue(end: str = "", *matchers: str, by: str = "site, category, window, basis") -> str:
    """PUE of sites, by category and window, or an end of its band."""
    return f"max by ({by}) ({_in_words(series(f'pue_ratio{end}', *matchers, scope='site'))})"


def info(*matchers: str) -> str:
    """The meters as they are declared."""
    return series("facility_meter_info", *matchers, scope="site")


def power(*matchers: str) -> str:
    """Power at meters."""
    return f"max by ({AT}, meter, role) ({series('facility_power_watts', *matchers, scope='site')})"


def energy(*matchers: str) -> str:
    """Energy that meters counted over the selected range."""
    return f"max by ({AT}, meter, role) (increase({series('facility_energy_joules_total', *matchers, scope='site')}[$__range]))"


def parts(flow: Flow) -> str:
    """The parts of a site's energy use, distinguished by the label `part`; their sum is its import plus its own generation."""
    placed = f"{_net_flow(flow, _IT)} * on ({AT}, meter) group_left (position) {info()}"
    it = f'label_replace(sum by ({AT}, position) ({placed}), "part", "IT at $1", "position", "(.+)")'
    roles = f"sum by ({AT}, role) ({_net_flow(flow, _OVERHEAD)})"
    overhead = f'label_replace({roles}, "part", "$1", "role", "(.+)")'
    rest = f"{supply(flow)} - on ({AT}) sum by ({AT}) ({_net_flow(flow, _USED)})"
    unexplained = f'label_replace({rest}, "part", "not explained by a meter", "", "")'
    return f"sum by ({AT}, part) ({it} or {overhead} or {unexplained})"


def supply(flow: Flow) -> str:
    """Energy that a site imports, and its own generation in addition to its feeds."""
    feeds = f"sum by ({AT}) ({flow(_TOTAL)})"
    generation = f"{flow(_MADE)} and on ({AT}, meter) {info(_ROOT)}"
    return f"({feeds} + (sum by ({AT}) ({generation}) or 0 * {feeds}))"


def it(flow: Flow) -> str:
    """IT energy at the topmost metered position, less other loads below it."""
    return f"sum by ({AT}) ({_net_flow(flow, _IT)})"


def _net_flow(flow: Flow, *matchers: str) -> str:
    """What meters show less what those right below them show."""
    mine, used = flow(*matchers), flow('role!~"renewable|reused_heat"')
    under = f"{used} * on ({AT}, meter) group_left (parent) {info(_NOT_ROOT)}"
    # Two meters of one role may be below the same meter: a separate label distinguishes them.
    apart = f'label_replace({under}, "child", "$1", "meter", "(.+)")'
    below = f'sum by ({AT}, meter) (label_replace({apart}, "meter", "$1", "parent", "(.+)"))'
    return f"(({mine} - on ({AT}, meter) group_left () {below}) or {mine})"
