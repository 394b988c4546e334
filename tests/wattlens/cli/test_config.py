"""`wattlens init` and `wattlens config check`, as they are run."""

import json
import os
import stat
from pathlib import Path

import pytest

from energy_agent.config import Config, load
from wattlens.cli import main
from wattlens.config_check import about_this_machine


def test_what_init_writes_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    assert main(["init", "--out", str(file)]) == 0
    assert load(file) == Config()
    assert str(file) in capsys.readouterr().out
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{file}: OK")


def test_init_writes_over_nothing_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("mine")
    assert main(["init", "--out", str(file)]) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main(["init", "--out", str(file), "--force"]) == 0
    assert load(file) == Config()
    assert main(["init", "--out", str(tmp_path / "no" / "agent.yaml")]) == 2
    assert stat.S_IMODE(file.stat().st_mode) & 0o133 == 0


def test_init_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--out", "-"]) == 0
    assert "#sampling:" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "said"), [
    ("samplng: {}", "did you mean 'sampling'"), ("sampling: {period_s: 0}", "'sampling.period_s'"),
    ("dvfs: {policy: nosuch}", "'dvfs.policy'"),
    ("tokens: [{workload: a, url: 'http://x', server: nosuch}]", "'tokens.0.server'"),
    ("a: [", "line 1"),
])  # fmt: skip
def test_a_wrong_file_is_one_line_and_exit_2(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    assert main(["config", "check", str(file)]) == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert said in output.err
    assert main(["config", "check", str(file), "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], said in document["error"]) == (False, True)


def warned(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    assert main(["config", "check", str(file), "--json"]) == 0
    return {row["key"]: row["warning"] for row in json.loads(capsys.readouterr().out)["warnings"]}


def test_what_this_node_lacks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = warned(
        "node: {procfs: /nonexistent/proc}\n"
        "web: {listen: '192.0.2.1:9479'}\n"
        "tokens: [{workload: a, url: 'http://x'}, {workload: a, url: 'http://x', period_s: 2}]\n"
        "dvfs: {mode: enforce, actuator: /nonexistent/a.sock, groups: [{name: g, devices: ['0'], workload: b}]}\n",
        tmp_path, capsys,
    )  # fmt: skip
    assert "/nonexistent/proc" in found["node.procfs"]
    assert "192.0.2.1" in found["web.listen"]
    assert "twice" in found["tokens.1"]
    assert "actuator" in found["dvfs.actuator"]
    assert "'b'" in found["dvfs.groups.0.workload"]


def test_the_defaults_lack_nothing_but_a_driver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert warned("", tmp_path, capsys).keys() <= {"sources.nvml.on_start_failure", "sources.node.rapl"}
    assert warned("sources: {nvml: {on_start_failure: retry}}", tmp_path, capsys).keys() <= {"sources.node.rapl"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_is_not_for_us_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "token"
    secret.touch(0)
    assert "uid" in warned(f"web: {{bearer_token_file: {secret}}}", tmp_path, capsys)["web.bearer_token_file"]


def test_the_machine_is_described_from_its_files(tmp_path: Path) -> None:
    assert "no NVIDIA driver" in "\n".join(about_this_machine({}, tmp_path))
    for folder in (
        "proc/driver/nvidia/gpus/0000:07:00.0",
        "sys/class/powercap/intel-rapl:0",
        "dev/ipmi0",
        "etc/prometheus/prometheus.yml",
    ):
        (tmp_path / folder).mkdir(parents=True)
    text = "\n".join(about_this_machine({"KUBERNETES_SERVICE_HOST": "x"}, tmp_path))
    for word in ("NVIDIA GPUs: 1", "RAPL", "IPMI", "pod", "Prometheus"):
        assert word in text
