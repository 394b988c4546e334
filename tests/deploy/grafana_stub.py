"""Stands where Grafana stands in the compose stack: reads what Grafana would be provisioned from, and asks every data source.

It is no Grafana: that server cannot be made from packages. It shows that the files lie where Grafana looks for them, refer to
each other, and name data sources that answer from inside the network. `python grafana_stub.py`, in an image with PyYAML.
"""

import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

PROVISIONING, STATE = Path("/etc/grafana/provisioning"), Path("/var/lib/grafana")


def provisioned() -> dict[str, Any]:
    """Return the data sources and dashboards that the provisioning files define.

    Raises:
        ValueError: a duplicate, or a reference to something that does not exist.
    """
    sources = [s for file in sorted(PROVISIONING.glob("datasources/*.yml")) for s in _read(file)["datasources"]]
    if len({s["uid"] for s in sources}) != len(sources) or sum(s.get("isDefault", False) for s in sources) != 1:
        raise ValueError("data sources: a uid twice, or not one default")
    dashboards: dict[str, str] = {}
    for file in sorted(PROVISIONING.glob("dashboards/*.yml")):
        for provider in _read(file)["providers"]:
            for path in sorted(Path(provider["options"]["path"]).glob("*.json")):
                dashboard = json.loads(path.read_text())
                if dashboard["uid"] in dashboards:
                    raise ValueError(f"{path}: uid {dashboard['uid']} twice")
                wrong = _named(dashboard) - {s["uid"] for s in sources}
                if wrong:
                    raise ValueError(f"{path}: no data source {sorted(wrong)}")
                dashboards[dashboard["uid"]] = dashboard["title"]
    if not dashboards:
        raise ValueError("no dashboards")
    return {"datasources": sources, "dashboards": dashboards}


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    if content["apiVersion"] != 1:
        raise ValueError(f"{path}: apiVersion")
    return content


def _named(node: Any) -> set[str]:
    """Data sources that a dashboard names by uid; those of a variable, and Grafana's own, need no file."""
    if isinstance(node, list):
        return set().union(*map(_named, node))
    if not isinstance(node, dict):
        return set()
    uid = node["datasource"].get("uid", "") if isinstance(node.get("datasource"), dict) else ""
    uids = {uid} if uid and not uid.startswith(("$", "--", "-- ", "grafana")) else set()
    return uids.union(*map(_named, node.values()))


def answers(source: dict[str, Any]) -> bool:
    """Whether a data source gives a value for a query, as Grafana's proxy would ask."""
    with urllib.request.urlopen(f"{source['url']}/api/v1/query?query=vector(1)", timeout=60) as answer:
        return bool(json.load(answer)["data"]["result"][0]["value"][1] == "1")


class Handler(BaseHTTPRequestHandler):
    """/api/health as Grafana has it, and /found."""

    def do_GET(self) -> None:
        try:
            reply = provisioned()
            reply["answers"] = [s["uid"] for s in reply["datasources"] if answers(s)]
            reply["starts"] = (STATE / "starts").read_text().count("\n")
            code = 200 if len(reply["answers"]) == len(reply["datasources"]) else 503
        except (OSError, ValueError, KeyError, TypeError) as error:
            code, reply = 503, {"error": repr(error)}
        body = json.dumps(reply).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    with (STATE / "starts").open("a") as starts:
        starts.write("started\n")
    sys.stdout.write("a stub in Grafana's place, no Grafana\n")
    ThreadingHTTPServer(("", 3000), Handler).serve_forever()
