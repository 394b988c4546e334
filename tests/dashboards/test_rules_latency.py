"""The expression that stands for "edges up to a limit": PromQL cannot compare a label."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.rules.latency import LIMITS, TTFT, at_most, percentile

limits = st.sampled_from([*{each for family in LIMITS.values() for each in family}, "0.25", "0.75", "2.5", "7.5"])
edges = st.one_of(
    st.decimals(min_value=0, max_value=200, places=4).map(lambda value: f"{value:f}"),
    st.integers(0, 2000).map(str),
    st.floats(1e-7, 200).map(str),
    st.floats(1e-7, 200).map("{:.3g}".format),
    limits,
    limits.map(lambda limit: f"{float(limit)}"),
    limits.map(lambda limit: f"{limit}0" if "." in limit else f"{limit}.0"),
)


@given(limits, edges)
def test_it_matches_an_edge_where_the_edge_is_at_most_the_limit(limit: str, edge: str) -> None:
    assert bool(re.fullmatch(at_most(limit), edge)) == (float(edge) <= float(limit))


@pytest.mark.parametrize("edge", ["+Inf", "1e+06", "", "NaN"])
@given(limits)
def test_the_last_bucket_and_what_is_no_edge_are_never_within(edge: str, limit: str) -> None:
    assert not re.fullmatch(at_most(limit), edge)


def test_a_limit_and_a_family_that_it_cannot_express_are_refused() -> None:
    with pytest.raises(ValueError, match="below 30"):
        at_most("30")
    with pytest.raises(LookupError, match="latency"):
        percentile(TTFT.removesuffix("_seconds"))
