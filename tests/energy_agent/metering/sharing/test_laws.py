"""Attribution conserves over whole scenarios; `python -m benchmarks attribution` tries 10,000 of them."""

from hypothesis import given, settings

from benchmarks.attribution_law import check, scenarios
from tests.support import examples


@settings(deadline=None, max_examples=examples(200))
@given(scenarios)
def test_whatever_happens_the_entries_of_a_gpu_sum_to_its_counter(turns):
    check(turns)
