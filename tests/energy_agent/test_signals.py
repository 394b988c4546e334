"""The naming rules that the catalogue promises."""

import pytest

from energy_agent.core.signal_types import Signal
from energy_agent.core.signals import BY_NAME, CATALOGUE, GPU, metric

each = pytest.mark.parametrize("signal", CATALOGUE, ids=lambda s: s.name)


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CATALOGUE)


@each
def test_name_tells_kind_and_unit(signal: Signal) -> None:
    assert signal.name.endswith("_total") == (signal.kind == "counter")
    assert signal.name.endswith("_info") == (signal.kind == "info")
    stem = signal.name.removesuffix("_total")
    assert signal.unit == "" or stem.endswith(f"_{signal.unit}")
    assert signal.metric == f"wattlens_{signal.name}"


@each
def test_help_and_behaviour_are_sentences_and_labels_few(signal: Signal) -> None:
    assert signal.help.endswith(".")
    assert signal.behaviour.endswith((".", ")"))
    assert len(set(signal.labels)) == len(signal.labels)
    assert signal.kind == "info" or len(signal.labels) <= 5
    if signal.name.startswith("gpu_"):
        assert signal.labels[:2] == GPU


def test_only_the_site_exports_what_is_of_a_site() -> None:
    site = {s.name for s in CATALOGUE if s.process == "site"}
    assert site == {s.name for s in CATALOGUE if s.name.startswith(("facility_", "pue_", "grid_"))}


def test_a_name_is_taken_only_from_what_is_exported() -> None:
    assert metric("gpu_up") == "wattlens_gpu_up"
    for name in ("gpu_upp", "pue", "wattlens_gpu_up"):
        with pytest.raises(LookupError, match=name):
            metric(name)
