"""`wattlens init` and `wattlens config check`, as they are run."""

import json
import os
import stat
from pathlib import Path

import pytest

from energy_agent.config.agent import Config, load, parse
from tests.certificates import Authority, hashed
from tests.support import Said, said_here
from wattlens.agent.config_check import about_this_machine
from wattlens.cli import main


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


class CheckedFile:
    """An agent.yaml in a folder of its own, and what `wattlens config check` prints of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "agent.yaml"

    def check(self, text: str) -> Said:
        return said_here("config", "check", write(self.path, text), "--json")

    def warned(self, text: str) -> dict[str, str]:
        """The warnings by key."""
        done = self.check(text)
        assert done.returncode == 0
        return {row["key"]: row["warning"] for row in json.loads(done.stdout)["warnings"]}

    def refused(self, text: str) -> str:
        """The one line of the error."""
        done = said_here("config", "check", write(self.path, text))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        return done.stderr.rstrip("\n")


@pytest.fixture
def checked(tmp_path: Path) -> CheckedFile:
    return CheckedFile(tmp_path)


def test_what_init_writes_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    assert main(["init", "--out", str(file)]) == 0
    assert load(file) == Config()
    assert str(file) in capsys.readouterr().out
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{file}: OK")


def test_init_overwrites_only_with_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("mine")
    assert main(["init", "--out", str(file)]) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main(["init", "--out", str(file), "--force", "--full"]) == 0
    assert load(file) == Config()
    assert main(["init", "--out", str(tmp_path / "no" / "agent.yaml")]) == 2
    assert stat.S_IMODE(file.stat().st_mode) & 0o133 == 0


def test_init_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--out", "-", "--full"]) == 0
    assert "\n# sampling:\n" in capsys.readouterr().out
    assert main(["init", "--out", "-", "--listen", "0.0.0.0:9479"]) == 0
    assert parse(capsys.readouterr().out.encode()).web.listen == "0.0.0.0:9479"
    assert main(["init", "--out", "-", "--listen", "9479"]) == 2
    assert "ADDRESS:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [
    ("samplng: {}", "did you mean 'sampling'"), ("sampling: {period_s: 0}", "'sampling.period_s'"),
    ("dvfs: {policy: nosuch}", "'dvfs.policy'"), ("tokens: [{workload: '', url: 'http://x'}]", "'tokens.0.workload'"),
    ("tokens: [{workload: a, url: 'http://x', server: nosuch}]", "'tokens.0.server'"),
    ("tokens: [{workload: a, url: 'http://x', server: mapping, mapping: {generation: g, itl: x_bucket}}]", "without _bucket"),
    ("dvfs: {groups: [{name: g, devices: ['0']}], options: {static: {claen_s: 1}}}", "'dvfs.options'"),
    ("dvfs: {groups: [{name: g, devices: ['0']}], options: {static: {clean_s: yes}}}", "clean_s: expected a number"),
    ("a: [", "line 1"),
])  # fmt: skip
def test_a_wrong_file_is_one_line_and_exit_2(checked: CheckedFile, text: str, message: str) -> None:
    assert message in checked.refused(text)
    done = checked.check(text)
    document = json.loads(done.stdout)
    assert (done.returncode, document["ok"], message in document["error"]) == (2, False, True)


def test_all_errors_of_a_file_are_reported_at_once(checked: CheckedFile) -> None:
    (checked.folder / "file").write_text("")
    done = checked.check(
        "tokens: [{workload: a, url: 'http://x', server: nosuch}, {workload: a, url: 'http://y', server: other}]\n"
        "dvfs: {policy: none_such, options: {static: {clean_s: yes}, nosuch: {}}}\n"
        f"client: {{socket: {checked.folder / 'file'}}}\n",
    )
    errors = json.loads(done.stdout)["errors"]
    assert (done.returncode, len(errors)) == (2, 6)
    assert all(line.startswith(f"{checked.path}: key '") for line in errors)
    for line, words in zip(
        errors,
        ["tokens.0.server nosuch", "tokens.1.server other", "dvfs.policy none_such", "nosuch", "clean_s", "client.socket"],
        strict=True,
    ):
        assert all(word in line for word in words.split())


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@127.0.0.1:8000/metrics", "https://me:secret@h/", "http://me:secret@h:99999", "http:me:secret@h",
        "http://h/me:secret@x", "me:secret@h",
    ],
)  # fmt: skip
def test_a_password_in_the_address_of_a_page_is_refused_and_not_printed(checked: CheckedFile, url: str) -> None:
    for text, key in (
        (f"tokens: [{{workload: a, url: '{url}'}}]", "tokens.0.url"),
        (f"otlp: {{endpoint: '{url}'}}", "otlp.endpoint"),
    ):
        line = checked.refused(text)
        assert f"'{key}'" in line
        assert "without user and password" in line
        assert "secret" not in line


def test_what_this_node_lacks_is_named(checked: CheckedFile) -> None:
    warnings = checked.warned(
        "node: {procfs: /nonexistent/proc}\n"
        "web: {listen: '192.0.2.1:9479'}\n"
        "tokens: [{workload: a, url: 'http://x'}, {workload: a, url: 'http://x', period_s: 2}]\n"
        "dvfs: {mode: enforce, actuator: /nonexistent/a.sock, groups: [{name: g, devices: ['0'], workload: b}]}\n",
    )
    assert "/nonexistent/proc" in warnings["node.procfs"]
    assert "192.0.2.1" in warnings["web.listen"]
    assert "twice" in warnings["tokens.1"]
    assert "actuator" in warnings["dvfs.actuator"]
    assert "'b'" in warnings["dvfs.groups.0.workload"]


@pytest.mark.parametrize(
    ("period_s", "more", "does"),
    [
        (1, "policy: slo", ""),
        (2, "policy: slo", "reacts too late to rising latency"),
        (10, "policy: slo", "treats them as stale and releases its settings"),
        (10, "slo: {ttft_ms: 500}", "treats them as stale and releases its settings"),  # auto
        (10, "policy: static", ""),
        (10, "policy: slo, mode: observe", ""),
    ],
)
def test_pages_that_are_too_slow_for_policy_slo_are_named(checked: CheckedFile, period_s: int, more: str, does: str) -> None:
    pages = ", ".join(f"{{workload: {w}, url: 'http://{w}', period_s: {period_s}}}" for w in "ab")
    groups = f"[{{name: g, devices: ['0'], workload: a, {more}}}, {{name: h, devices: ['1'], workload: b, policy: static}}]"
    warnings = checked.warned(f"tokens: [{pages}]\ndvfs: {{mode: shadow, groups: {groups}}}\n")
    named = {key: text for key, text in warnings.items() if key.endswith("period_s")}
    assert set(named) == ({"tokens.0.period_s"} if does else set())
    assert does in named.get("tokens.0.period_s", "")


def test_steering_that_cannot_work_is_named(checked: CheckedFile) -> None:
    terms = "policy: slo, workloads: {chat: {policy: slo+phase}}, blocks: {settle_s: 2}"
    warnings = checked.warned(f"dvfs: {{mode: shadow, auto_groups: true, {terms}}}\n")
    assert {key for key in warnings if key.startswith("dvfs")} == {
        "dvfs.policy", "dvfs.workloads.chat.policy", "dvfs.blocks.settle_s"
    }  # fmt: skip
    assert "slo.ttft_ms" in warnings["dvfs.policy"]
    limited = "policy: slo, namespaces: {a: {slo: {itl_ms: 50}}}"
    warnings = checked.warned(f"dvfs: {{mode: shadow, auto_groups: true, {limited}}}\n")
    assert not any(key.startswith("dvfs") for key in warnings)


def test_one_page_for_two_workloads_is_named_whatever_its_host_is_called(checked: CheckedFile) -> None:
    warnings = checked.warned(
        "tokens:\n"
        "  - {workload: a, url: 'http://localhost:8000/metrics'}\n"
        "  - {workload: b, url: 'http://h:9/metrics', ports: [8000]}\n"
        "  - {workload: c, url: 'http://127.0.0.1:7999/metrics', ports: [8000]}\n"
        "  - {workload: a, url: 'http://[::1]:8000/metrics'}\n"
        "  - {workload: d, url: 'http://127.0.0.1:8000/other'}\n",
    )
    token_warnings = {key: text for key, text in warnings.items() if key.startswith("tokens.")}
    assert set(token_warnings) == {"tokens.2", "tokens.3"}
    assert "127.0.0.1:8000/metrics is also listed for a" in token_warnings["tokens.2"]
    assert "twice for a" in token_warnings["tokens.3"]


def test_the_web_config_and_its_certificates_are_read_as_the_agent_reads_them(checked: CheckedFile) -> None:
    authority, other = Authority(checked.folder), Authority(checked.folder, "other")
    certificate, key = authority.issue("a", "IP:127.0.0.1")
    web = checked.folder / "web.yml"

    def tls(cert: Path, secret: Path) -> str:
        write(web, f"tls_server_config: {{cert_file: {cert}, key_file: {secret}}}\nbasic_auth_users: {{a: {hashed('a')}}}")
        return f"web: {{config_file: {web}}}"

    right = checked.warned(tls(certificate, key))
    assert not [name for name in right if name.startswith("web.")]
    assert "cert_file" in checked.refused(tls(certificate, other.issue("b", "IP:127.0.0.1")[1]))
    assert "PEM" in checked.refused(tls(write(checked.folder / "no.pem", "no certificate"), key))
    write(web, "basic_auth_users: {a: plain}")
    line = checked.refused(f"web: {{config_file: {web}}}")
    assert "'web.config_file'" in line
    assert "expected a bcrypt hash" in line
    assert "none.pem" in checked.warned(tls(checked.folder / "none.pem", key))["web.config_file"]
    assert "no such file or folder" in checked.warned(f"web: {{config_file: {checked.folder / 'none'}}}")["web.config_file"]


def test_a_clients_socket_that_the_agent_could_not_make_is_an_error(checked: CheckedFile) -> None:
    for place in ("agent.sock", "new/agent.sock", "new/er/agent.sock"):
        assert "client.socket" not in checked.warned(f"client: {{socket: {checked.folder / place}}}")
    (checked.folder / "open").mkdir()
    (checked.folder / "open").chmod(0o777)
    (checked.folder / "file").write_text("")
    for place in ("open/agent.sock", "open/new/agent.sock", "file", "x" * 108):
        assert "'client.socket'" in checked.refused(f"client: {{socket: {checked.folder / place}}}")


def test_the_example_of_a_metrics_name_is_one(checked: CheckedFile) -> None:
    mapping = "tokens: [{{workload: a, url: 'http://x', server: mapping, mapping: {{generation: '{}'}}}}]"
    line = checked.refused(mapping.format("a b"))
    example = line.partition(" or ")[2].partition(", got")[0]
    assert "{" in example
    checked.warned(mapping.format(example))


@pytest.mark.parametrize(("text", "mode", "message"), [
    ("", 0o600, "one line"), ("two words", 0o600, "16 to 2048 letters"), ("0123456789abcdef", 0o644, "chmod o-r"),
])  # fmt: skip
def test_invalid_bearer_token_file_is_reported(checked: CheckedFile, text: str, mode: int, message: str) -> None:
    line = checked.refused(f"web: {{bearer_token_file: {write(checked.folder / 'token', text, mode)}}}")
    assert message in line
    assert "web.bearer_token_file" in line


def test_invalid_sensor_profile_is_reported(checked: CheckedFile) -> None:
    profile = write(checked.folder / "sensors.json", "{}")
    assert "sensor_profile" in checked.refused(f"sources: {{nvml: {{sensor_profile: {profile}}}}}")


def test_exposed_password_gives_a_warning(checked: CheckedFile) -> None:
    login = f"user_file: {write(checked.folder / 'u', 'u')}, password_file: {write(checked.folder / 'p', 'p')}"
    clear = checked.warned(f"sources: {{node: {{redfish: {{url: 'http://bmc', insecure: true, {login}}}}}}}")
    assert "in clear text" in clear["sources.node.redfish.insecure"]
    blind = checked.warned(f"sources: {{node: {{redfish: {{url: 'https://bmc', verify: false, {login}}}}}}}")
    assert "not verified" in blind["sources.node.redfish.verify"]


def test_headers_of_the_otlp_export_in_the_clear_or_unreadable_are_named(checked: CheckedFile) -> None:
    headers = write(checked.folder / "headers", "Authorization: Bearer secret")
    to = "otlp: {{endpoint: '{}', headers_file: {}}}".format
    assert "in clear text" in checked.warned(to("http://collector:4318", headers))["otlp.headers_file"]
    for safe in ("https://collector:4318", "http://127.0.0.1:4318"):
        assert "otlp.headers_file" not in checked.warned(to(safe, headers))
    wrong = checked.refused(to("https://collector", write(checked.folder / "wrong", "Bearer secret")))
    assert "otlp.headers_file" in wrong
    assert "secret" not in wrong


def test_the_defaults_lack_nothing_but_a_driver(checked: CheckedFile) -> None:
    assert checked.warned("").keys() <= {"sources.nvml.on_start_failure", "sources.node.rapl"}
    assert checked.warned("sources: {nvml: {on_start_failure: retry}}").keys() <= {"sources.node.rapl"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_is_not_for_us_is_named(checked: CheckedFile) -> None:
    secret = checked.folder / "token"
    secret.touch(0)
    assert "uid" in checked.warned(f"web: {{bearer_token_file: {secret}}}")["web.bearer_token_file"]


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
