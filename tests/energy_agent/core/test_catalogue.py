"""The naming rules that the catalogue promises."""

import pytest

from energy_agent.core.catalogue.gpu import GPU
from energy_agent.core.catalogue.node import AGENT, BY_NAME, CATALOGUE, metric


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CATALOGUE)


def test_names_show_kind_and_unit() -> None:
    for signal in CATALOGUE:
        assert signal.name.endswith("_total") == (signal.kind == "counter"), signal.name
        assert signal.name.endswith("_info") == (signal.kind == "info"), signal.name
        stem = signal.name.removesuffix("_total")
        assert signal.unit == "" or stem.endswith(f"_{signal.unit}"), signal.name
        assert signal.metric == f"wattlens_{signal.name}"


def test_help_and_behaviour_are_sentences_and_labels_few() -> None:
    for signal in CATALOGUE:
        assert signal.help.endswith("."), signal.name
        assert signal.behaviour.endswith((".", ")")), signal.name
        assert len(set(signal.labels)) == len(signal.labels), signal.name
        assert signal.kind == "info" or len(signal.labels) <= 6, signal.name
        assert not signal.name.startswith("gpu_") or signal.labels[:2] == GPU, signal.name


def test_only_the_site_exports_what_is_of_a_site() -> None:
    site = {s.name for s in CATALOGUE} - {s.name for s in AGENT}
    assert site == {s.name for s in CATALOGUE if s.name.startswith(("facility_", "pue_", "grid_"))}


def test_a_name_is_taken_only_from_what_is_exported() -> None:
    assert metric("gpu_up") == "wattlens_gpu_up"
    for name in ("gpu_upp", "pue", "wattlens_gpu_up"):
        with pytest.raises(LookupError, match=name):
            metric(name)
