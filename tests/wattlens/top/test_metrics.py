"""The parser of responses: equal to the client library's, safe with any label."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from energy_agent.core.text import is_printable
from energy_agent.exposition.openmetrics import Format, render
from tests.snapshots import Player, uuid
from wattlens.top.metrics import TEXT_MAX, MetricsParser


def page(step: int = 1000, **player: object) -> str:
    return render(Player(**player).at(step), Format.TEXT).decode()  # type: ignore[arg-type]


def test_values_are_those_of_the_client_library() -> None:
    text = page(node=True)
    response = MetricsParser().parse(text, 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("wattlens_")
            assert (sample.labels, sample.value) in list(response.rows(name))


def test_a_response_with_other_series_is_parsed_anew() -> None:
    parser = MetricsParser()
    texts = [page(1000), page(1010), page(1020, gpus=3), page(1030, lost={1}), page(1040)]
    for text in texts:
        same = MetricsParser().parse(text, 0.0)
        response = parser.parse(text, 0.0)
        assert response.values == same.values
        assert response.index.series == same.index.series


@given(st.text(max_size=2 * TEXT_MAX))
def test_a_label_is_printable_and_bounded(text: str) -> None:
    value = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    response = MetricsParser().parse(f'wattlens_workload_info{{workload="{value}",kind="pod"}} 1\n', 0.0)
    ((labels, _),) = response.rows("workload_info")
    assert is_printable(labels["workload"])
    assert len(labels["workload"]) <= TEXT_MAX
    assert labels["kind"] == "pod"


@pytest.mark.parametrize("text", ["<html>not here</html>", "wattlens_gpu_up one", 'wattlens_gpu_up{uuid="A" 1', "{} 1"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        MetricsParser().parse(text, 0.0)


def test_other_metrics_of_the_process_are_skipped() -> None:
    response = MetricsParser().parse('go_gc{q="1"} 3\nwattlens_gpu_up{uuid="A"} 1\n', 0.0)
    assert set(response.index.series) == {"gpu_up"}


def test_a_gpu_is_found_by_its_uuid() -> None:
    response = MetricsParser().parse(page(), 0.0)
    assert response.of_gpu("gpu_memory_total_bytes", uuid(3)) == response.total("gpu_memory_total_bytes", uuid=uuid(3))
    assert response.of_gpu("gpu_memory_total_bytes", "unknown") is None
