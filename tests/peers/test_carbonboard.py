"""CodeCarbon's own `carbonboard`, as installed, with the emissions.csv of two sites: every callback responds with our sums.

It needs dash, whose pytest plug-in does not load under this suite's settings: WATTLENS_CARBONBOARD names the program in an
environment of its own (`pip install codecarbon[carbonboard]`).
"""

import json
import subprocess
from pathlib import Path

import pytest

from reports.render.codecarbon import write_emissions
from tests.reports.render.test_codecarbon import two_sites
from tests.support import need_environment, need_module

pytestmark = pytest.mark.peer

# Asks every callback of the page as a browser does, the first one first: the others take its result.
ASK = """
import json, sys
import pandas
from codecarbon.viz.carbonboard import render_app
client = render_app(pandas.read_csv(sys.argv[1])).server.test_client()
callbacks = client.get("/_dash-dependencies").get_json()
state, statuses = {"project_name.value": sys.argv[2], "energy_type.value": "fossil"}, []
for callback in sorted(callbacks, key=lambda c: "net_power_consumption" not in c["output"]):
    name = callback["output"]
    targets = [dict(zip(("id", "property"), each.rsplit(".", 1))) for each in name.strip(".").split("...")]
    inputs = [each | {"value": state[each["id"] + "." + each["property"]]} for each in callback["inputs"]]
    body = {"output": name, "outputs": targets if name.startswith("..") else targets[0], "inputs": inputs,
            "changedPropIds": [each["id"] + "." + each["property"] for each in inputs]}
    reply = client.post("/_dash-update-component", data=json.dumps(body), content_type="application/json")
    statuses.append([name, reply.status_code])
    if reply.status_code == 200:
        for identity, values in reply.get_json()["response"].items():
            state |= {identity + "." + key: value for key, value in values.items()}
print(json.dumps({"statuses": statuses, "state": {k: v for k, v in state.items() if isinstance(v, str)}}))
"""


def test_carbonboard_shows_the_sums_of_two_sites(tmp_path: Path) -> None:
    """West has 2 kWh at 100 g/kWh, east 1 kWh at 300: 3.0 kWh and 0.5 kg, and team red has parts of both.

    Not in the USA: there its regional map fails by itself, since its table of states has rows without a code.
    """
    need_module("codecarbon")
    program = need_environment("WATTLENS_CARBONBOARD", "the program carbonboard")
    path = write_emissions(two_sites(tmp_path, ("red", "red"), countries=("DEU", "IND")), tmp_path)
    python = Path(program).parent / "python"
    reply = subprocess.run([python, "-c", ASK, path, "red"], capture_output=True, text=True, check=True)
    result = json.loads(reply.stdout.splitlines()[-1])
    assert len(result["statuses"]) >= 9
    assert {status for _, status in result["statuses"]} == {200}, result["statuses"]
    state = result["state"]
    assert state["net_power_consumption.children"] == "3.0 kWh"
    assert state["net_carbon_equivalent.children"] == "0.5 kg"
    assert (state["project_power_consumption.children"], state["project_carbon_equivalent.children"]) == ("3.0 kWh", "0.5 kg")
    assert state["household_fraction.children"] == "0.31 %"
