"""Include and exclude lists of the page."""

import dataclasses

import pytest

from energy_agent.config.agent import parse
from energy_agent.core.errors import UsageError
from energy_agent.core.selection import Selection
from energy_agent.exposition.openmetrics import Format, render
from tests.snapshots import Player, uuid


def visible_names(selection: Selection) -> tuple[set[str], set[str]]:
    """Families and GPUs on the page."""
    page = render(dataclasses.replace(Player(gpus=4).at(5), selection=selection), Format.TEXT).decode()
    lines = page.splitlines()
    families = {line.split()[2].removeprefix("wattlens_") for line in lines if line.startswith("# TYPE")}
    return families, {part.partition('"')[0] for line in lines for part in line.split(',uuid="')[1:]}


def test_without_lists_everything_is_shown() -> None:
    families, gpus = visible_names(Selection())
    assert {"gpu_power_watts", "gpu_mig_info", "ledger_writable"} < families
    assert gpus == {uuid(gpu) for gpu in range(4)}


def test_include_shows_only_what_it_names_and_exclude_wins() -> None:
    families, _ = visible_names(Selection(include=("gpu_energy_*", "gpu_up"), exclude=("gpu_energy_gap*",)))
    assert families == {
        "gpu_energy_joules_total", "gpu_energy_gain_uncertainty_ratio", "gpu_energy_edge_uncertainty_joules", "gpu_up",
    }  # fmt: skip


def test_gpus_are_chosen_by_index_uuid_or_glob() -> None:
    assert visible_names(Selection(include_gpus=("1", uuid(3))))[1] == {uuid(1), uuid(3)}
    assert visible_names(Selection(exclude_gpus=("GPU-00000002-*", "0")))[1] == {uuid(1), uuid(3)}


def test_the_configuration_takes_names_with_and_without_prefix() -> None:
    config = parse(b"web: {metrics: {exclude: [wattlens_gpu_ecc_*, gpu_up], include_gpus: ['0']}}")
    assert config.web.metrics.selection == Selection(exclude=("gpu_ecc_*", "gpu_up"), include_gpus=("0",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exclude: [gpu_powr_watts]", "gpu_power_watts"),
        ("include: ['gpu_enrgy_*']", "wattlens_gpu_energy_"),
        ("include: [pue]", "pue"),
        ("exclude_gpus: [card0]", "card0"),
        ("exclued: []", "exclude"),
    ],
)
def test_unknown_family_name_is_a_clear_error(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=r"web\.metrics") as error:
        parse(f"web: {{metrics: {{{text}}}}}".encode())
    assert words in str(error.value)
