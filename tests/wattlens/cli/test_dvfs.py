"""`wattlens dvfs` and `wattlens actuator` at the terminal: one clear line, the right exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.peers import Peers
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.runtime.clock import RealClock
from tests.support import Said, said_here


def wattlens(*arguments: object, **environment: str) -> Said:
    """Run a command in this process, with these variables in its environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return said_here(*arguments)


def test_policy_lists_options_and_provenance() -> None:
    document = json.loads(wattlens("dvfs", "policy", "--json").stdout)
    assert set(document["policies"]["static"]["options"]) == {"clean_s", "stale_s", "queue_limit"}
    assert all(row["source"] for row in document["knees"])
    assert "H100" in wattlens("dvfs", "policy").stdout


class ShadowSteering:
    """Steering of one group in mode shadow."""

    def describe_steering(self, workload: str) -> dict[str, object]:
        return {"workload": workload}

    def request_setting(self, workload: str, body: object, place: str = "") -> None:
        raise AssertionError("the status requests nothing")

    def describe_groups(self) -> list[dict[str, Any]]:
        setting = {"sm_clock_max_mhz": 1410}
        decided = {"time": "2026-11-29T12:00:00Z", "policy": "slo", "action": "set", "reason": "itl", "setting": setting}
        counts = {"observations": 1004, "missed_lower": 3, "missed_upper": 4, "left": {"lower": 0.6, "upper": 0.7}}
        unknown = {"observations": 0, "missed_lower": 0, "missed_upper": 0, "reason": "no requests in this window"}
        saving = {"ratio": 0.12, "lower": 0.08, "upper": 0.15}
        missed = {"ttft": {"observations": 1004, "lower": 0.003, "upper": 0.012}}
        slo = {"policy": "slo", "saving": saving, "saved_joules": {"lower": 8e4, "upper": 1.5e5}, "missed": missed}
        limiter = {
            "policy": "limiter",
            "saving_reason": "nothing is applied",
            "missed": {},
            "missed_reason": "nothing is applied",
        }
        return [
            {
                "group": "chat", "workload": "ml/chat-0", "mode": "shadow", "devices": ["GPU-0"], "lease": False,
                "settings": {"GPU-0": {"applied": {}, "wanted": setting}},
                "current": [decided | {"action": "hold"}], "decisions": [decided],
                "error_budget": {"ttft": {"limit_ms": 500.0, "attainment": 0.99, "requests": counts, "hour": unknown}},
                "proven": {"reason": "nothing is applied in mode shadow"},
                "shadow": {"seconds": 3600.0, "joules": 1e6, "policies": [slo, limiter]},
            }
        ]  # fmt: skip


def test_status_of_groups_needs_no_actuator(tmp_path: Path) -> None:
    api = ClientApi(tmp_path / "s", Routes(EnergyHistory(), None, ShadowSteering), Peers([Path("/proc")], RealClock()))
    api.start()
    agent = {"WATTLENS_AGENT_SOCKET": str(tmp_path / "s"), "XDG_RUNTIME_DIR": str(tmp_path)}
    try:
        done, as_json = (wattlens("dvfs", "status", *extra, **agent) for extra in ((), ("--json",)))
        refused = wattlens("dvfs", "status", "--socket", tmp_path / "none", **agent)
    finally:
        api.stop()
    assert (done.returncode, as_json.returncode, refused.returncode) == (0, 0, 1)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Leases and settings are not available: actuator: no response at ")
    words = [" ".join(line.split()) for line in lines[2:]]
    assert words == [
        "GROUP WORKLOAD MODE POLICY SETTING REASON PROVEN SAVING",
        "chat ml/chat-0 shadow slo 1410 MHz itl nothing is applied in mode shadow",
        "",
        "Error budget of chat",
        "LATENCY LIMIT WITHIN WINDOW OBSERVED MISSED BUDGET LEFT",
        "TTFT 500 ms 99 % last 1,000 requests 1004 3 to 4 60 to 70 %",
        "TTFT 500 ms 99 % last hour 0 0 unknown: no requests in this window",
        "",
        "Last decisions of chat",
        "TIME POLICY DECISION SETTING REASON",
        "2026-11-29T12:00:00Z slo set 1410 MHz itl",
        "",
        "Forecast of chat: 60 min in mode shadow, 1.00 MJ used",
        "slo: would have saved 8.0 to 15.0 %, 80.0 kJ to 150 kJ; time to first token: 0.30 to 1.20 % over the limit",
        "limiter: saving unknown: nothing is applied",
    ]
    document = json.loads(as_json.stdout)
    assert document["groups"] == ShadowSteering().describe_groups()
    assert "devices" not in document
    assert document["actuator_reason"] in lines[0]


def test_where_neither_responds_both_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "agent.sock"))
    done = wattlens("dvfs", "status")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "actuator.sock" in done.stderr
    assert str(tmp_path / "agent.sock") in done.stderr


def test_wrong_allow_list_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("allow: [{devices: all, knobs: [clock]}]\n")
    done = wattlens("actuator", "--config", tmp_path / "a.yaml", "--state", tmp_path / "s", "--socket", tmp_path / "sock")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "allow[0].baseline" in done.stderr


def test_restore_with_nothing_left(tmp_path: Path) -> None:
    done = wattlens("dvfs", "restore", "--state", tmp_path / "s")
    assert (done.returncode, done.stdout) == (0, f"Nothing to restore: no actuator has used {tmp_path / 's'}.\n")
    (tmp_path / "s").mkdir(exist_ok=True)
    done = wattlens("dvfs", "restore", "--state", tmp_path / "s")
    assert (done.returncode, done.stdout) == (0, "Nothing to restore.\n")


def test_off_is_refused_on_a_machine_without_an_actuator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a typing error in the name of a host: the file would block steering there one day."""
    monkeypatch.setattr("wattlens.state_folder.os.geteuid", lambda: 1000)  # root's folder is that of the machine
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder, socket = tmp_path / "wattlens/actuator", tmp_path / "none.sock"
    done = wattlens("dvfs", "off", "--socket", socket)
    assert (done.returncode, done.stdout, done.stderr.count("\n"), folder.exists()) == (1, "", 1, False)
    assert str(folder) in done.stderr
    assert "--state" in done.stderr
    assert (wattlens("dvfs", "on", "--socket", socket).returncode, folder.exists()) == (0, False)
    assert wattlens("dvfs", "off", "--socket", socket, "--state", tmp_path / "named").returncode == 0
    assert (tmp_path / "named/dvfs.off").exists()
    folder.mkdir(parents=True)  # the actuator is installed, and does not run now
    assert wattlens("dvfs", "off", "--socket", socket).returncode == 0
    assert (folder / "dvfs.off").exists()
