"""The section `grid` of a site: its sources come from the folder of sources, and one grid has one basis."""

import pytest

from energy_agent.config.agent import parse_as
from energy_agent.core.errors import UsageError
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from energy_agent.site.config.grid import GridBase, grid_model, grid_specs

CSV = "csv_file: {path: /g.csv, publisher: us, licence: ours"


def grid(text: str) -> GridBase:
    return parse_as(grid_model(), text.encode(), "site.yaml")


def test_grid_keys_are_defaults_of_its_sources() -> None:
    grid_config = grid(
        f"zone: DE\ncountry: deu\nboundary: direct\nsources:\n- electricity_maps: {{key_file: /k}}\n- {CSV}, zone: DE-LU}}\n"
    )
    maps, csv = grid_config.all_sources
    assert (maps.kind, maps.config.zone, maps.config.boundary) == ("electricity_maps", "DE", "direct")
    assert (csv.kind, csv.config.zone, csv.config.boundary) == ("csv_file", "DE-LU", "direct")
    assert grid_config.country == "DEU"
    assert grid_config.basis == Basis(EmissionBoundary.DIRECT)
    assert grid_config.residual_basis == Basis(EmissionBoundary.DIRECT, Accounting.RESIDUAL)


def test_an_empty_grid_is_one_without_co2e() -> None:
    grid_config = grid("")
    assert (grid_config.zone, grid_config.country, grid_config.all_sources) == (None, None, ())
    assert grid_config.basis == Basis(EmissionBoundary.DIRECT, Accounting.LOCATION, Gases.CO2E)


def test_each_file_of_the_folder_is_a_key() -> None:
    assert set(grid_specs()) == {"csv_file", "electricity_maps"}
    source = grid_model().model_fields["sources"].annotation.__args__[0]  # type: ignore[union-attr]
    assert set(source.model_fields) == set(grid_specs())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sources:\n- electricity_maps: {key_file: /k}\n", "source electricity_maps has no zone"),
        (
            "zone: DE\nsources:\n- electricity_maps: {key_file: /k, boundary: life-cycle}\n",
            "is life-cycle, but the grid is direct",
        ),
        (f"zone: DE\nsources:\n- {CSV}, gases: CO2}}\n", "source csv_file does not have the gases of the grid (CO2e)"),
        (
            "zone: CN\ngases: CO2\nsources:\n- electricity_maps: {key_file: /k}\n",
            "electricity_maps does not have the gases of the grid (CO2)",
        ),
        (
            f"zone: DE\nsources:\n- {CSV}}}\n- {CSV.replace('/g.csv', '/other/g.csv')}}}\n",
            "duplicate source csv_file of zone DE",
        ),
        ("zone: DE\nsources:\n- {}\n", "has none; expected exactly one of: csv_file, electricity_maps"),
        (f"zone: DE\nsources:\n- electricity_maps: {{key_file: /k}}\n  {CSV}}}\n", "has csv_file and electricity_maps"),
        ("zone: DE\nsources:\n- electricity_map: {key_file: /k}\n", "did you mean 'electricity_maps'?"),
        ("zone: DE\nsources:\n- electricity_maps: {}\n", "key 'sources.0.electricity_maps.key_file' is missing"),
        ("zone: DE\nsources:\n- electricity_maps: 5\n", "expected a section with its own keys, got 5"),
        ("zone: DE\nsources:\n- 5\n", "expected a section with its own keys, got 5"),
        ("zone: DE\nsources: 5\n", "expected a list"),
        ("zone: NO\n", "expected text, got false; put it in quotes"),
        ("country: Germany\n", "expected an ISO 3166-1 alpha-3 code such as DEU or USA, got 'Germany'"),
        ("country: 5\n", "expected text"),
        ("boundary: marginal\n", "expected one of 'direct' or 'life-cycle'"),
        ("zone: ../x\n", "a name of at most 63 letters"),
    ],
)
def test_a_wrong_grid_is_one_line_that_names_the_key(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        grid(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_key_has_a_description() -> None:
    for model in (grid_model(), *(spec.config for spec in grid_specs().values())):
        for name, field in model.model_fields.items():
            assert field.description or name == "sources", (model, name)
