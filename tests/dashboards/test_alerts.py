"""Every alert by promtool: it is silent before, fires while what it is about lasts, and resolves; each has its runbook."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dashboards.build.build import ALERTS as ALERTS_FILE
from dashboards.build.build import GRAFANA_ALERTS, OBJECT, RULES, build
from dashboards.rules import alerts, model, serving, steering
from energy_agent.core.catalogue.node import CATALOGUE
from tests.support import need_program
from wattlens.cli import main

ROOT = Path(__file__).parents[2]
RUNBOOKS = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", (ROOT / "docs/alerts.md").read_text(), re.M | re.S))
ALERTS = {alert.name: alert for alert in alerts.alerts()}
NODE = {"instance": "a", "job": "wattlens"}
GPU = NODE | {"gpu": "0", "uuid": "u"}
AGENT, READER = (NODE | {"process": process} for process in ("agent", "reader"))
METERED = GPU | {"method": "counter"}
MODEL = {"job": "wattlens", "model": "m", "boundary": "gpu", "energy": "active_idle", "tokens": "generation"}
BAND, ALONE = {"job": "wattlens", "model": "m", "running": "8-15"}, {"job": "wattlens", "model": "m", "running": "1"}
ENERGY, UNSEEN, UNHELD = (f"wattlens_gpu_{name}_joules_total" for name in ("energy", "energy_gap_bound", "unallocated_energy"))
HELD, SLOWED = "wattlens_workload_energy_joules_total", "wattlens_gpu_clock_event_seconds_total"
PUE = {"instance": "s", "job": "wattlens-site", "site": "fra1", "category": "2"}


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them, and minutes at which the alert is silent, fires with these labels, and has resolved."""

    alert: str
    series: dict[str, str]
    silent: int
    fires: int
    resolved: int
    labels: dict[str, str]
    summary: str
    every: str = "1m"


def of(name: str, labels: dict[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}"


def counter(*stretches: tuple[int, int]) -> str:
    """Return promtool values of a counter: for each (step, count) it grows by `step` per sample, for `count` samples."""
    parts, value = ["0"], 0
    for step, count in stretches:
        parts.append(f"{value + step}+{step}x{count - 1}")
        value += step * count
    return " ".join(parts)


RECORDED = {of(serving.BAND_TOKENS, BAND): "100x580"}
BANDS = {
    of(model.joules_per_token("model", band), MODEL): f"{value}x580"
    for band, value in (("_lower", 0.95), ("", 1), ("_upper", 1.05))
}
EVALUATED = {"1m": "1m", "10m": "5m", "1h": "10m"}
"""Evaluation interval by that of the series: finer ones take minutes over days of series."""
BAD = "1x9 0x40 1x40"  # from minute 10 to 50
CASES = [
    Case("WattlensAgentDown", {of("up", NODE): BAD}, 14, 16, 52, NODE, "a is not scraped."),
    Case("WattlensAgentDown", {of("up", NODE | {"job": "node-exporter"}): BAD, of("up", NODE): BAD}, 14, 16, 52, NODE,
         "a is not scraped."),
    Case("WattlensGpuLost", {of("wattlens_gpu_up", GPU): BAD}, 11, 13, 52, GPU, "GPU 0 of a does not respond."),
    Case("WattlensSourceDown", {of("wattlens_source_up", NODE | {"source": "redfish", "device": ""}): BAD}, 24, 26, 52,
         NODE | {"source": "redfish"}, "Source redfish of a is down."),
    Case("WattlensConfigRejected", {of("wattlens_config_last_reload_successful", NODE): BAD}, 14, 16, 52, NODE,
         "a keeps its previous configuration."),
    # 0.05 of a core, 0.2 for two hours, 0.05: the rate of a quarter of an hour passes 0.1 five minutes in
    Case("WattlensOverhead", {of("wattlens_process_cpu_seconds_total", AGENT): counter((2, 60), (9, 120), (2, 90)),
                              of("wattlens_process_cpu_seconds_total", READER): counter((1, 60), (3, 120), (1, 90))},
         94, 98, 200, NODE, "a: the agent uses more CPU or memory than expected."),
    Case("WattlensOverhead", {of("wattlens_process_resident_memory_bytes", AGENT): "2e8x20 3e8x60 2e8x40"},
         50, 52, 90, NODE, "a: the agent uses more CPU or memory than expected."),
    Case("WattlensLedgerStuck", {of("wattlens_ledger_writable", NODE): BAD}, 14, 16, 52, NODE, "a records no energy."),
    Case("WattlensLedgerStuck", {of("wattlens_ledger_writable", NODE): "1x90",
                                 of("wattlens_ledger_last_commit_timestamp_seconds", NODE): "0+60x10 600x29 2400+60x40"},
         17, 19, 42, NODE, "a records no energy."),
    Case("WattlensJournalMovedAside", {of("wattlens_ledger_journals_moved_aside", NODE): "0x9 1x40 0x40"}, 8, 10, 51, NODE,
         "a began a new journal."),
    # a tenth of 600 W unseen for ten hours: a twentieth of six hours after three
    Case("WattlensEnergyUnseen", {of(ENERGY, METERED): counter((360_000, 300)),
                                  of(UNSEEN, GPU): counter((0, 60), (36_000, 60), (0, 180))},
         770, 830, 1_600, NODE, "a measured too little of its GPUs' energy for a report.", "10m"),
    # GPUs without a sensor have no energy to compare with
    Case("WattlensEnergyUnseen", {of(UNSEEN, GPU): counter((0, 60), (36_000, 60), (0, 180))},
         600, 650, 1_600, NODE, "a measured too little of its GPUs' energy for a report.", "10m"),
    Case("WattlensIdleWaste", {of(ENERGY, METERED): counter((60_000, 300)),
                               of(UNHELD, GPU): counter((6_000, 60), (54_000, 60), (6_000, 180))},
         770, 880, 1_600, NODE, "GPUs of a draw energy while unallocated.", "10m"),
    Case("WattlensIdleWaste", {
            of(HELD, METERED | {"workload": "w", "state": "active"}): counter((9_000, 60), (300, 90), (9_000, 150)),
            of(HELD, METERED | {"workload": "w", "state": "idle"}): counter((1_000, 60), (9_700, 90), (1_000, 150))},
         770, 1_060, 1_700, NODE | {"gpu": "0", "workload": "w"}, "GPUs of a draw energy for w, which does not use them.",
         "10m"),
    # 1 J for thirty hours, then 1.4, at the same load, with bands of 5 %: two days later that is what it was a day ago
    Case("WattlensJoulesPerTokenRose", BANDS | RECORDED | {of(serving.BAND_ENERGY, BAND): "100x180 140x400"},
         1_790, 1_900, 4_700, BAND, "m needs more joules per token than a day ago, at 8-15 running requests.", "10m"),
    # The same, when the load falls from 8-15 to 1 running request, which costs 5 J: only the rise at equal load counts
    Case("WattlensJoulesPerTokenRose", BANDS | RECORDED | {
            of(serving.BAND_ENERGY, BAND): "100x180 140x400", of(serving.BAND_ENERGY, ALONE): "_x180 500x20 _x380",
            of(serving.BAND_TOKENS, ALONE): "_x180 100x20 _x380"},
         1_790, 1_900, 4_700, BAND, "m needs more joules per token than a day ago, at 8-15 running requests.", "10m"),
    # Pod w at 1 J stays, pod v comes at 1.4 J: it is no new one after a day
    Case("WattlensJoulesPerTokenRose", BANDS | RECORDED | {
            of(serving.BAND_ENERGY, BAND): "100x180 110x400",
            of("wattlens_serving_energy_joules_total", BAND | NODE | {"workload": "w"}): "0+60000x580",
            of("wattlens_serving_tokens_total", BAND | NODE | {"workload": "w", "phase": "generation"}): "0+60000x580",
            of("wattlens_serving_energy_joules_total", BAND | NODE | {"workload": "v"}): "_x180 0+84000x400",
            of("wattlens_serving_tokens_total", BAND | NODE | {"workload": "v", "phase": "generation"}): "_x180 0+60000x400"},
         1_790, 1_930, 3_330, BAND | {"servers": "new"},
         "m needs more joules per token than a day ago on its new servers, at 8-15 running requests.", "10m"),
    Case("WattlensThrottled", {of(SLOWED, GPU | {"reason": "hw_thermal_slowdown"}): counter((0, 20), (30, 60), (0, 60)),
                               of(SLOWED, GPU | {"reason": "sw_power_cap"}): counter((60, 140))},
         36, 42, 95, GPU, "GPU 0 of a is slowed down by heat or its power supply."),
    Case("WattlensLeaseOrphaned", {of("wattlens_dvfs_clock_limit_hertz", GPU): "1e9x60 stale",
                                   of("wattlens_dvfs_lease_active", GPU): "1x9 0x60"},
         11, 13, 62, GPU, "a may have GPU settings without a lease."),
    Case("WattlensLeaseOrphaned", {of("up", NODE): "1x29 0x60", of("wattlens_dvfs_lease_active", GPU): "1x29 stale"},
         31, 33, 50, NODE, "a may have GPU settings without a lease."),
    Case("WattlensSettingIneffective", {of("wattlens_dvfs_ineffective_total", GPU | {"reason": "no_effect"}): "_x9 1x90"},
         8, 11, 45, GPU | {"reason": "no_effect"}, "GPU 0 of a does not follow its setting."),
    Case("WattlensSteeringLoses", {of(steering.SAVED, GPU): counter((100, 40), (10, 40), (100, 100)),
                                   of(steering.EXTRA, GPU): counter((10, 40), (100, 40), (10, 100))},
         45 * 60, 60 * 60, 110 * 60, GPU, "Steering GPU 0 of a costs more than it saves.", "1h"),
    # a claim that falls is no loss, the first one that is found is
    Case("WattlensSteeringLoses", {of(steering.SAVED, GPU): "100x29 40x70", of(steering.EXTRA, GPU): "0x59 50x40"},
         34 * 60, 62 * 60, 86 * 60, GPU, "Steering GPU 0 of a costs more than it saves.", "1h"),
    Case("WattlensPueDrifted", {of("wattlens_pue_ratio_lower", PUE | {"window": "24h"}): "1.18x200 1.3x400 1.18x300",
                                of("wattlens_pue_ratio_upper", PUE | {"window": "30d"}): "1.22x900"},
         250, 270, 620, PUE, "The PUE of fra1 rose."),
    Case("WattlensMeterUnread", {of("wattlens_pue_coverage_ratio", PUE | {"window": "24h"}): "0.99x200 0.9x400 0.99x300",
                                 of("wattlens_pue_coverage_ratio", PUE | {"window": "15m"}): "0.5x900"},
         250, 270, 620, PUE | {"window": "24h"}, "A meter of fra1 was not read for part of the day."),
]  # fmt: skip


def run(case: Case, folder: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    """promtool over one alert's case."""
    alert = ALERTS[case.alert]
    notes = {
        "summary": case.summary,
        "description": alert.description,
        "runbook": alert.runbook,
    } | changed
    fired = [{"exp_labels": case.labels | {"severity": alert.severity}, "exp_annotations": notes}]
    times = [(case.silent, []), (case.fires, fired), (case.resolved, [])]
    test = {
        "interval": case.every,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": case.alert, **({"exp_alerts": alerts_} if alerts_ else {})}
            for minute, alerts_ in times
        ],
    }
    groups = yaml.safe_load((ROOT / ALERTS_FILE).read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"] if rule["alert"] == case.alert]
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "alerts", "rules": rules}]}))  # others take time
    content = {"rule_files": ["rules.yml"], "evaluation_interval": EVALUATED[case.every], "tests": [test]}
    path = folder / "case.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    command = [need_program("promtool"), "test", "rules", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.prometheus
@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.alert}-{n}") for n, case in enumerate(CASES)])
def test_it_is_silent_then_fires_then_resolves(case: Case, tmp_path: Path) -> None:
    done = run(case, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_a_case_can_fail(tmp_path: Path) -> None:
    assert run(CASES[0], tmp_path, summary="b is not scraped.").returncode == 1


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == ALERTS.keys()
    assert 10 <= len(ALERTS) <= 16


def test_runbook_links_take_the_address_of_the_users_copy(tmp_path: Path) -> None:
    build(tmp_path, runbooks="https://wiki.example.com/alerts")
    for name in (ALERTS_FILE, OBJECT, GRAFANA_ALERTS):
        text = (tmp_path / name).read_text()
        assert text.count("runbook_url: https://wiki.example.com/alerts#wattlens") == len(ALERTS)
        assert "docs/alerts.md" not in text


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_links_to_its_runbook(name: str) -> None:
    """It begins with severity and duration as in the rule, and has at least one thing to check and one to do."""
    alert = ALERTS[name]
    assert alert.rule()["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"  # type: ignore[index]
    assert RUNBOOKS[name].startswith(f"**{alert.severity}, {alert.pending}**: ")
    assert len(re.findall(r"^- ", RUNBOOKS[name], re.M)) >= 2


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_names_what_there_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = RUNBOOKS[name]
    metrics = set(re.findall(r"wattlens_[a-z_]+", text))
    assert metrics <= {signal.metric for signal in CATALOGUE}
    for command in re.findall(r"`wattlens ([a-z -]+)", text):
        words = [word for word in command.split() if not word.startswith("-")]
        assert main([*words, "--help"]) == 0, command
        page = capsys.readouterr().out
        assert all(word in page for word in command.split() if word.startswith("--"))


def test_no_runbook_is_left_over() -> None:
    assert RUNBOOKS.keys() == ALERTS.keys()


def test_the_operators_object_has_the_same_groups() -> None:
    """As they were written: what one way of loading them has, the other has."""
    of_file = [yaml.safe_load((ROOT / path).read_text())["groups"] for path in (RULES, ALERTS_FILE)]
    whole = yaml.safe_load((ROOT / OBJECT).read_text())
    assert (whole["apiVersion"], whole["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert whole["spec"]["groups"] == of_file[0] + of_file[1]
