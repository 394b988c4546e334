"""CodeCarbon's own `carbonboard`, as installed, with the emissions.csv of two sites: every callback responds with our sums."""

import json
from pathlib import Path
from typing import Any

import pytest

from reports.render.codecarbon import write_emissions
from tests.reports.render.test_codecarbon import two_sites
from tests.support import need_module

pytestmark = pytest.mark.peer


def test_carbonboard_shows_the_sums_of_two_sites(tmp_path: Path) -> None:
    """West has 2 kWh at 100 g/kWh, east 1 kWh at 300: 3.0 kWh and 0.5 kg, and team red has parts of both."""
    for module in ("codecarbon", "dash", "dash_bootstrap_components", "fire"):
        need_module(module)
    import pandas
    from codecarbon.viz.carbonboard import render_app

    facts = two_sites(tmp_path, ("red", "red"), countries=("USA", "IND"))
    client = render_app(pandas.read_csv(write_emissions(facts, tmp_path))).server.test_client()
    callbacks = client.get("/_dash-dependencies").get_json()
    assert len(callbacks) >= 9

    def respond(callback: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        outputs = callback["output"].strip(".").split("...")
        targets = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in outputs]
        inputs = [each | {"value": state[f"{each['id']}.{each['property']}"]} for each in callback["inputs"]]
        body = {
            "output": callback["output"],
            "outputs": targets if callback["output"].startswith("..") else targets[0],
            "inputs": inputs,
            "changedPropIds": [f"{each['id']}.{each['property']}" for each in callback["inputs"]],
        }
        reply = client.post("/_dash-update-component", data=json.dumps(body), content_type="application/json")
        assert reply.status_code == 200, (callback["output"], reply.status_code)
        return {f"{i}.{p}": v for i, values in reply.get_json()["response"].items() for p, v in values.items()}

    state: dict[str, Any] = {"project_name.value": "red", "energy_type.value": "fossil"}
    first = next(c for c in callbacks if "net_power_consumption" in c["output"])
    state |= respond(first, state)
    assert state["net_power_consumption.children"] == "3.0 kWh"
    assert state["net_carbon_equivalent.children"] == "0.5 kg"
    assert (state["project_power_consumption.children"], state["project_carbon_equivalent.children"]) == ("3.0 kWh", "0.5 kg")
    for callback in callbacks:
        if callback is not first:
            state |= respond(callback, state)
    assert state["household_fraction.children"] == "0.31 %"
