"""Every wrong configuration is one clear line that names the key or the file, and exit code 2 at the real command line."""

import os
import re
import tracemalloc
from pathlib import Path

import pytest

from energy_agent.config import agent as config
from energy_agent.config import messages
from energy_agent.core.errors import UsageError
from energy_agent.runtime.files import yaml_file
from tests.support import LONG_NUMBERS_REFUSED, refusal, said_here

# What stands in the file -> what the line has to name.
WRONG = {
    "samplng: {}": ["'samplng'", "did you mean 'sampling'?"],
    "sampling: {perod_s: 1}": ["'sampling.perod_s'", "did you mean 'period_s'?"],
    "sources: {nvml: {on_start_falure: fail}}": ["'sources.nvml.on_start_falure'", "'on_start_failure'"],
    "zzz: 1": ["'zzz'", "known keys: client, dvfs, holders, ledger, node, otlp, sampling, sources, tokens, web"],
    "sampling: {period_s: 0}": ["'sampling.period_s'", "0.05", "got 0"], "sampling: {period_s: -1}": ["'sampling.period_s'"],
    "sampling: {period_s: 61}": ["'sampling.period_s'", "60"], "sampling: {period_s: fast}": ["'sampling.period_s'", "'fast'"],
    "sampling: {period_s: .nan}": ["'sampling.period_s'"], "sampling: {period_s: .inf}": ["'sampling.period_s'"],
    "sampling: {period_s: [1]}": ["'sampling.period_s'", "a list"], "sampling: 5": ["'sampling'"], "sampling:": ["'sampling'"],
    "sources: {nvml: {on_start_failure: maybe}}": ["on_start_failure", "'fail', 'skip' or 'retry'", "'maybe'"],
    "sources: {nvml: {gain_uncertainty_ratio: 0.6}}": ["gain_uncertainty_ratio", "0.5"],
    "sources: {nvml: {calibration: {GPU-x: -1}}}": ["calibration.GPU-x"],
    "sources: {nvml: {calibration: {GPU-x: .nan}}}": ["calibration.GPU-x"],
    "node: {name: 'a/b'}": ["'node.name'", "letters, digits", "'a/b'"], "node: {cluster: ''}": ["'node.cluster'"],
    "node: {cluster: '../../x'}": ["'node.cluster'"], "web: {listen: 9479}": ["'web.listen'"],
    "web: {listen: ':9479'}": ["'web.listen'", "ADDRESS:PORT"], "web: {listen: 'a:70000'}": ["'web.listen'"],
    "web: {listen: 'a:b'}": ["'web.listen'"], "ledger: {disk_budget_mib: 1}": ["'ledger.disk_budget_mib'", "16"],
    "ledger: {disk_budget_mib: 99999999999999999999}": ["'ledger.disk_budget_mib'"],
    "ledger: {keep_hours: 99999999999999}": ["'ledger.keep_hours'"],
    "ledger: {segment_s: 60}": ["'ledger.segment_s'", "a multiple of 900"],
    "ledger: {segment_s: 1000}": ["'ledger.segment_s'", "a multiple of 900", "1000"],
    "tokens: [{url: 'http://x/metrics'}]": ["'tokens.0.workload'", "missing"],
    "tokens: [{workload: w, url: 'ftp://x'}]": ["'tokens.0.url'"],
    "tokens: [{workload: w, url: 'http://x', prot: 1}]": ["'tokens.0.prot'"], "tokens: {workload: w}": ["'tokens'"],
    "dvfs: {mode: enfroce}": ["'dvfs.mode'", "'enfroce'"],
    "dvfs: {groups: [{name: g, devices: []}]}": ["'dvfs.groups.0.devices'"],
    "dvfs: {blocks: {pair: 3}}": ["'dvfs.blocks.pair'", "'pairs'"],
    "dvfs: {blocks: {seconds: 20, every_s: 30}}": ["'dvfs.blocks'", "a pair takes 40 s"],
    "dvfs: {slowdown: 3}": ["'dvfs.slowdown'", "at most 0.5"],
    "dvfs: {schedule: [Monday 8-18]}": ["'dvfs.schedule.0'", "Mon-Fri 08:00-18:00"],
    "dvfs: {time_zone: Berlin}": ["'dvfs.time_zone'", "Europe/Berlin"],
    "dvfs: {options: {knob: power}}": ["'dvfs.options'", "options of each policy"],
    "dvfs: {namespaces: {ml: {mod: observe}}}": ["'dvfs.namespaces.ml.mod'", "'mode'"],
    "dvfs: {workloads: {'a b': {}}}": ["'dvfs.workloads.a b'", "with * for any characters"],
    "dvfs: {slo: {ttft: 5}}": ["'dvfs.slo.ttft'", "'ttft_ms'"],
    "sampling: {period_s: 1, period_s: 2}": ["'period_s' is a duplicate", "line 1"],
    "sampling: {}\nsampling: {}": ["'sampling' is a duplicate", "line 2"], "1: 2": ["1"],
    "- sampling": ["must be a mapping", "list"], "just text": ["must be a mapping", "not text"],
    "sampling: {period_s: yes}": ["'sampling.period_s'", "expected a number", "true"],
    "sampling: {health_period_s: off}": ["'sampling.health_period_s'", "expected a number", "false"],
    "ledger: {keep_hours: true}": ["'ledger.keep_hours'", "expected a number"],
    "holders: {period_s: on}": ["'holders.period_s'", "expected a number"],
    "sources: {nvml: {calibration: {GPU-x: no}}}": ["calibration.GPU-x", "expected a number"],
    "sources: {nvml: {gain_uncertainty_ratio: no}}": ["gain_uncertainty_ratio", "expected a number"],
    "sources: {node: {psu: {max_power_w: yes}}}": ["'sources.node.psu.max_power_w'", "expected a number"],
    "sources: {node: {psu: {supplies: yes}}}": ["'sources.node.psu.supplies'", "expected a number"],
    "sources: {node: {ledger: redfish}}": ["'sources.node'", "ledger is 'redfish'", "section 'redfish' is missing"],
    "sources: {node: {ledger: psu, psu: {scope: module}}}": ["'sources.node'", "'module'", "a meter of the whole node"],
    "sources: {node: {ipmi: {interface: lanplus}}}": ["'sources.node.ipmi'", "host, user_file, password_file missing"],
    "sources: {node: {redfish: {url: 'https://bmc'}}}": ["'sources.node.redfish'", "user_file and password_file missing"],
    "sources: {node: {redfish: {url: 'http://bmc', user_file: u, password_file: p}}}": [
        "'sources.node.redfish'", "in clear text", "https://", "insecure: true",
    ], "sources: {node: {redfish: {url: 'ftp://bmc'}}}": ["'sources.node.redfish.url'", "https://HOST"],
    "dvfs: {mode: enforce}": ["'dvfs'", "'enforce'", "no device is selected"],
    "dvfs: {mode: shadow}": ["'dvfs'", "'shadow'", "no device is selected"],
    "dvfs: {groups: [{name: a, devices: ['0']}, {name: b, devices: ['1', '0']}]}": ["device '0'", "(a and b)"],
    "dvfs: {groups: [{name: a, devices: ['0', '0']}]}": ["device '0'", "twice"],
    "dvfs: {groups: [{name: a, devices: ['0']}, {name: a, devices: ['1']}]}": ["duplicate group name 'a'"],
    "dvfs: {groups: [{name: a, devices: [0]}]}": ["'dvfs.groups.0.devices.0'", "put it in quotes", "got 0"],
    "tokens: [{workload: w, url: 'http://h/', server: mapping, mapping: {generation: 'out{kind=}'}}]": ["my_total{kind="],
    "tokens: [{workload: w, url: 'http://h/', server: mapping, mapping: {generation: 'out{kind=\"" + "x" * 1024 + "\"}'}}]": [
        "'tokens.0.mapping.generation'", "1024",
    ], "holders: {slurm: {labels: {model: comment.1}}}": ["'holders.slurm.labels.model'", "comment.KEY"],
    "holders: {slurm: {labels: {model: comment." + "x" * 43 + "}}}": ["'holders.slurm.labels.model'", "50"],
    "sampling: [": ["not valid YAML", "line 1"], "sampling:\n\tperiod_s: 1": ["not valid YAML", "line 2", "got a tab"],
    "web:\n  tls:\n    cert_file: x\n   key_file: y": ["not valid YAML at line 4", "the indentation does not match line 3"],
    "sampling: {period_s: 'x": ["not valid YAML"], "a: !!python/object/apply:os.system ['true']": ["not valid YAML"],
    "a: !!timestamp x": ["not valid YAML"], "a: !!int ''": ["not valid YAML"], "a: !!bool x": ["not valid YAML"],
    "a: 2001-99-99": ["not valid YAML at line 1, column 4", "'2001-99-99'"],
    "a: 1" + ":1" * 300 + ".0": ["not valid YAML"], "a: " + "9" * 5000: ["not valid YAML" if LONG_NUMBERS_REFUSED else "'a'"],
    "sampling: {period_s: 0x" + "f" * 5000 + "}": ["'sampling.period_s'"], "a: " + "[" * 20_000: ["nested too deeply"],
    "a: &a {}\nb: *a": ["alias '*a'", "line 2"], "? [a]\n: b": ["not valid YAML"],
}  # fmt: skip


def test_a_wrong_file_is_one_line_that_names_the_fault(tmp_path):
    path = tmp_path / "agent.yaml"
    for text, words in WRONG.items():
        path.write_text(text)
        line = refusal(config.load, path)
        assert len(line) < 400
        for word in (str(path), *words):
            assert word in line, text[:40]
        for ours in ("pattern", "NvmlSource", "Input", "instance of", "valid string", "^"):  # what only a programmer reads
            assert ours not in line, text[:40]
    assert UsageError.exit_code == 2


def test_every_wrong_key_of_a_file_is_a_line_with_expected_and_actual_value(tmp_path):
    path = tmp_path / "agent.yaml"
    path.write_text(
        "sampling: {period_s: fast, health_period_s: 301}\nledger: {segment_s: 1.5, keep_hours: 0}\nlabels: {}\n"
        "dvfs: {slowdown: 0, slo: {attainment: 2}}\nsources: {nvml: {calibration: {GPU-x: 3}}, node: {psu: {supplies: many}}}\n"
        "tokens: [{workload: w, url: 'http://h', ports: [70000]}]\n"
    )
    with pytest.raises(UsageError) as caught:
        config.load(path)
    lines = {re.search(r"'([^']*)'", line)[1]: line for line in str(caught.value).splitlines()}
    assert all(line.startswith(f"{path}: ") for line in lines.values())
    for key, *words in (
        ("sampling.period_s", "0.05", "60", "'fast'"), ("sampling.health_period_s", "0", "300", "301"),
        ("ledger.segment_s", "whole", "900", "86400", "1.5"), ("ledger.keep_hours", "1", "8784", "got 0"),
        ("labels", "known keys"),
        ("dvfs.slowdown", "above 0", "0.5", "got 0"), ("dvfs.slo.attainment", "above 0.5", "below 1", "got 2"),
        ("sources.nvml.calibration.GPU-x", "0", "0.5", "got 3"), ("sources.node.psu.supplies", "whole", "'many'"),
        ("tokens.0.ports.0", "65535", "70000"),
    ):  # fmt: skip
        line = lines.pop(key)
        assert all(word in line for word in words), line
    assert not lines


def test_very_many_wrong_keys_are_counted(tmp_path):
    path = tmp_path / "agent.yaml"
    path.write_text("".join(f"key{n}: 1\n" for n in range(messages.LINES_MAX + 7)))
    with pytest.raises(UsageError) as caught:
        config.load(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == messages.LINES_MAX + 1
    assert " 7 more " in lines[-1]


def test_no_file_and_an_empty_file_are_the_defaults_and_a_full_one_is_read(tmp_path):
    path = tmp_path / "agent.yaml"
    for text in ("", "# nothing\n", "---\n", "{}"):
        path.write_text(text)
        assert config.load(path) == config.load(None) == config.Config()
    path.write_text(
        "node: {cluster: c1, name: gpu-17}\nsampling: {period_s: 0.1}\n"
        "sources: {nvml: {on_start_failure: fail, calibration: {GPU-x: 0.01}}}\n"
        "tokens: [{workload: w, url: 'http://127.0.0.1:8000/metrics'}]\nweb: {listen: '[::1]:0'}\n"
        "dvfs: {mode: shadow, groups: [{name: g, devices: ['0']}], blocks: {pairs: 4}}\n"
    )
    read = config.load(path)
    assert (read.node.name, read.sampling.period_s, read.sources.nvml.calibration) == ("gpu-17", 0.1, {"GPU-x": 0.01})
    assert read.tokens[0].server == "vllm"


def test_clear_text_password_requires_insecure_or_loopback():
    login = "user_file: u, password_file: p"
    for redfish in (
        f"url: 'http://bmc', insecure: true, {login}", f"url: 'http://127.0.0.1:8000', {login}",
        f"url: 'http://[::1]', {login}", f"url: 'https://bmc', {login}", "url: 'http://bmc', auth: none",
    ):  # fmt: skip
        redfish_config = config.parse(f"sources: {{node: {{redfish: {{{redfish}}}}}}}".encode()).sources.node.redfish
        assert redfish_config is not None
        assert redfish_config.in_the_clear == redfish_config.insecure


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "agent.yaml"
    for content, word in (
        (bytes(range(256)) * 4, "not UTF-8"), (b"#" * (yaml_file.MAX_BYTES + 1), "larger than"),
        (b"sampling:\x00 {}", "not valid YAML"),
    ):  # fmt: skip
        path.write_bytes(content)
        assert word in refusal(config.load, path)
    for other, word in ((path / "x.yaml", "Not a directory"), (tmp_path, "directory"), (tmp_path / "none", "No such file")):
        line = refusal(config.load, other)
        assert str(other) in line
        assert word in line
    for target, word in ((Path("/dev/zero"), "larger than"), (path, "symbolic links")):
        path.unlink()
        path.symlink_to(target)
        assert word in refusal(config.load, path)


def test_a_few_lines_cannot_fill_the_memory():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    merges = "a0: &a0 {k: v}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))
    tracemalloc.start()
    try:
        for text in (bomb, merges):
            refusal(config.parse, text.encode())
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def agent(*arguments):
    return said_here("agent", *arguments)


def assert_refused(done, *words):
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("wattlens")
    for word in words:
        assert str(word) in line


def test_command_line_reports_config_error_in_one_line_with_exit_code_2(tmp_path, monkeypatch):
    path, state = tmp_path / "agent.yaml", ("--state", tmp_path / "state")
    for text, words in {
        "sampling: {perod_s: 1}": ["'sampling.perod_s'", "'period_s'"],
        "web: {listen: 'a:70000'}": ["'web.listen'"],
        "tokens: [{workload: w, url: 'http://x/', server: vlm}]": ["tokens", "'vlm'", "vllm"],
        "sampling: [": ["not valid YAML"],
        "zzz: 1": ["'zzz'"],
    }.items():
        path.write_text(text)
        assert_refused(agent("--config", path, *state), *words)
    path.chmod(0o646)  # others may change it
    assert_refused(agent("--config", path, *state), path, "chmod o-w")
    if os.geteuid() == 0:
        path.chmod(0o644)
        os.chown(path, 12345, 0)
        assert_refused(agent("--config", path, *state), path, "uid 12345")
    assert_refused(agent("--config", tmp_path / "none.yaml", *state), tmp_path / "none.yaml", "No such file")
    for name in (path, path / "below"):
        assert_refused(agent("--state", name), name)
    os.mkfifo(tmp_path / "pipe")  # which is not waited for
    assert_refused(agent("--config", tmp_path / "pipe", *state), tmp_path / "pipe", "pipe")
    assert_refused(agent("--simulate", tmp_path, *state), tmp_path, "wattlens sim start")
    for listen in ("nowhere", "127.0.0.1:99999", ":1", "127.0.0.1:x"):
        assert_refused(agent("--listen", listen, *state), "--listen", listen)
    for name in ("../x", "a b", "x" * 80, "a\nb"):
        monkeypatch.setenv("NODE_NAME", name)
        assert_refused(agent(*state), "NODE_NAME")


def test_options_of_a_release_are_checked_and_none_is_ignored(tmp_path):
    state = ("--state", tmp_path)
    for duration in ("10", "0s", "25h", "-5m", "2d", "1x", ""):
        assert_refused(agent("release", f"--for={duration}", *state), "--for")
    for arguments, word in (
        (("--for", "10m"), "wattlens agent release"), (("resume", "--for", "10m"), "wattlens agent release"),
        (("release", "--listen", "127.0.0.1:1"), "--listen"), (("resume", "--web-config", "x"), "--web-config"),
        (("release",), str(tmp_path)),  # where no agent is
    ):  # fmt: skip
        assert_refused(agent(*arguments, *state), word)
