"""Hot reload on a running agent: by signal and by itself, also as a ConfigMap changes; what a bad file and a restart mean."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from energy_agent.config.agent import parse
from energy_agent.config.otlp import Otlp
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.rows.kinds import CELL_NS, Cell, EdgeRow, Row
from energy_agent.ledger.segments.segment import read as read_segment
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess, segments
from tests.support import eventually, said_here
from wattlens.agent.reload import FileWatch, needs_restart, restart_keys

pytestmark = pytest.mark.timeout(360)

SCENARIO = "description: two boards\nboards: [{count: 2, sku: H100-SXM5-80GB}]\nseed: 5\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedNode]:
    folder = tmp_path_factory.mktemp("node")
    (folder / "scenario.yaml").write_text(SCENARIO)
    with SimulatedNode.start(scenario.load(str(folder / "scenario.yaml")), folder / "node") as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "agent.yaml").write_text("{}")
    return tmp_path / "agent.yaml"


@pytest.fixture
def agent(node: SimulatedNode, file: Path, tmp_path: Path) -> Iterator[AgentProcess]:
    with AgentProcess(tmp_path / "state", node.directory, "--config", file) as running:
        yield running


def reloaded(agent: AgentProcess, file: Path, text: str) -> None:
    count = agent.log.count("configuration reloaded")
    file.write_text(text)
    agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: agent.log.count("configuration reloaded") > count)


def commands(agent: AgentProcess) -> dict[int, list[str]]:
    """Of its readers; a prober or another child may come and go."""
    return {pid: words for pid, words in agent.commands().items() if "energy_agent.reader.main" in words and "read" in words}


def readers_of(agent: AgentProcess) -> set[int]:
    return set(commands(agent))


def option(agent: AgentProcess, name: str) -> set[int]:
    return {json.loads(words[words.index("read") + 1])[name] for words in commands(agent).values()}


def gain(agent: AgentProcess) -> set[float]:
    return set(agent.series("wattlens_gpu_energy_gain_uncertainty_ratio").values())


def test_every_section_takes_effect_and_the_agent_lives_on(agent: AgentProcess, file: Path) -> None:
    before = agent.counters()
    pid, readers = agent.process.pid, readers_of(agent)
    reloaded(agent, file, "sources: {nvml: {gain_uncertainty_ratio: 0.02}}")
    eventually(lambda: gain(agent) == {0.02})
    assert readers_of(agent) == readers, "the reader does nothing else than before"
    reloaded(agent, file, "sampling: {period_s: 0.25}\nholders: {period_s: 2}\nsources: {nvml: {gain_uncertainty_ratio: 0.02}}")
    eventually(lambda: option(agent, "period_ns") == {250_000_000})
    assert option(agent, "process_period_ns") == {2_000_000_000}
    assert not readers_of(agent) & readers
    reloaded(agent, file, "tokens: [{workload: chat, url: 'http://127.0.0.1:1'}]")
    eventually(lambda: "tokens:chat" in agent.page())
    eventually(lambda: option(agent, "period_ns") == {1_000_000_000})
    reloaded(agent, file, "sampling: {period_s: 7}\nledger: {segment_s: 900, disk_budget_mib: 64}")
    eventually(lambda: "tokens:chat" not in agent.page())
    assert agent.process.pid == pid
    after = agent.counters()
    for key, value in before.items():
        assert after.get(key, value) >= value, key
    assert agent.series("wattlens_reader_restarts_total")[()] == 0  # no call had failed to come back
    code, _ = agent.terminate(within_s=60)
    assert code == 0
    assert segments(agent.folder)
    assert said_here("ledger", "verify", agent.folder).returncode == 0


def sealed(folder: Path) -> list[Row]:
    return [row for path in segments(folder) for row in read_segment(path).rows]


def quarters(rows: list[Row]) -> set[int]:
    return {row.cell_start_ns // CELL_NS for row in rows if isinstance(row, Cell)}


@pytest.mark.smoke
def test_a_shorter_segment_ends_with_the_quarter_and_takes_all_of_it(file: Path, tmp_path: Path) -> None:
    """At twenty times real time, a quarter of an hour ends within 45 s.

    On a busy machine, a late reading records the end of the quarter after the quarter was sealed, but never an earlier time.
    """
    (tmp_path / "scenario.yaml").write_text(f"{SCENARIO}rate: 20.0\n")
    with SimulatedNode.start(scenario.load(str(tmp_path / "scenario.yaml")), tmp_path / "node") as fast:
        clock = SimulatedClock(fast.directory / "plant")
        with AgentProcess(tmp_path / "state", fast.directory, "--config", file) as agent:
            quarter = clock.utc_ns() // CELL_NS
            reloaded(agent, file, "ledger: {segment_s: 900}")
            eventually(lambda: quarter in quarters(sealed(agent.folder)), seconds=90)
            rows = sealed(agent.folder)
            open_rows = read_journal(agent.folder / "journal.db").book.open_rows()
    ended = quarters(rows)
    spans = sorted((row for row in rows if isinstance(row, EdgeRow)), key=lambda row: row.run.end_ns)
    sealed_ns = {row.device: row.run.end_ns for row in spans}  # the last of each
    late = [row for row in open_rows if isinstance(row, Cell) and row.cell_start_ns // CELL_NS <= max(ended)]
    assert all(row.run.start_ns >= sealed_ns[row.device] for row in late)


@pytest.mark.smoke
def test_steering_begins_and_ends_with_the_file(agent: AgentProcess, file: Path) -> None:
    reloaded(agent, file, "dvfs: {mode: shadow, groups: [{name: g, devices: ['0']}]}")
    modes = "wattlens_dvfs_mode"
    eventually(lambda: {dict(k)["gpu"] for k in agent.series(modes)} == {"0"})
    reloaded(agent, file, "dvfs: {mode: shadow, groups: [{name: g, devices: ['1']}]}")
    eventually(lambda: {dict(k)["gpu"] for k in agent.series(modes)} == {"1"})
    reloaded(agent, file, "dvfs: {mode: shadow, groups: [{name: g, devices: ['0', '99']}]}")
    eventually(lambda: "no GPU '99'" in agent.page())
    assert {v for k, v in agent.series("wattlens_source_up").items() if ("source", "dvfs:g") in k} == {0}
    eventually(lambda: "group g: not steered: this node has no GPU '99'" in agent.log)
    reloaded(agent, file, "")
    eventually(lambda: not agent.series(modes))
    eventually(lambda: "dvfs:g" not in agent.page())


@pytest.mark.smoke
def test_a_configmap_that_changes_is_read_without_a_signal(node: SimulatedNode, tmp_path: Path) -> None:
    """The kubelet swaps a symlink to a folder; the file's own path never changes."""
    mount = tmp_path / "mount"
    for name, text in (("..1", "{}"), ("..2", "sources: {nvml: {gain_uncertainty_ratio: 0.03}}"), ("..3", "samplng: {}")):
        (mount / name).mkdir(parents=True)
        (mount / name / "agent.yaml").write_text(text)
    (mount / "..data").symlink_to("..1")
    (mount / "agent.yaml").symlink_to("..data/agent.yaml")

    def swap(to: str) -> None:
        (mount / "..data_tmp").symlink_to(to)
        (mount / "..data_tmp").rename(mount / "..data")

    with AgentProcess(tmp_path / "state", node.directory, "--config", mount / "agent.yaml") as agent:
        swap("..2")
        eventually(lambda: gain(agent) == {0.03})
        swap("..3")
        eventually(lambda: agent.series("wattlens_config_last_reload_successful")[()] == 0)
        assert "did you mean 'sampling'" in agent.log
        assert gain(agent) == {0.03}
        swap("..2")
        eventually(lambda: agent.series("wattlens_config_last_reload_successful")[()] == 1)


def test_a_bad_file_changes_nothing_at_all(agent: AgentProcess, file: Path) -> None:
    reloaded(agent, file, "sources: {nvml: {gain_uncertainty_ratio: 0.02}}\ntokens: [{workload: b, url: 'http://127.0.0.1:1'}]")
    eventually(lambda: gain(agent) == {0.02} and "tokens:b" in agent.page())
    readers = readers_of(agent)
    for count, text in enumerate([
        "samplng: {}",
        "sampling: {period_s: 0.5}\ndvfs: {policy: nosuch}",
        "sampling: {period_s: 0.5}\ntokens: [{workload: a, url: 'http://x', server: nosuch}]",
        "sampling: {period_s: 0.5}\ndvfs: {groups: [{name: g, devices: ['0']}], options: {nosuch: 1}}",
        "sampling: {period_s: 0.5}\nsources: {nvml: {sensor_profile: /nonexistent}}",
    ], 1):  # fmt: skip
        file.write_text(text)
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: agent.log.count("configuration not reloaded, the previous one stays in use") == count)  # noqa: B023
        eventually(lambda: agent.series("wattlens_config_last_reload_successful")[()] == 0)
        assert (gain(agent), readers_of(agent)) == ({0.02}, readers)
        assert "tokens:b" in agent.page()


def test_what_needs_a_restart_is_named_each_time(agent: AgentProcess, file: Path) -> None:
    for _ in range(2):
        count = agent.log.count("needs a restart to take effect: node.cluster, web.listen")
        reloaded(agent, file, "node: {cluster: other}\nweb: {listen: '127.0.0.1:9999'}")
        assert agent.log.count("needs a restart to take effect: node.cluster, web.listen") == count + 1
    assert 'cluster="default"' in agent.page()


def test_sighup_without_a_config_file_is_logged(node: SimulatedNode, tmp_path: Path) -> None:
    with AgentProcess(tmp_path / "state", node.directory) as agent:
        agent.process.send_signal(signal.SIGHUP)
        eventually(lambda: "without --config" in agent.log)
        assert agent.process.poll() is None


def test_only_what_is_read_at_start_needs_a_restart() -> None:
    old = parse(b"")
    assert needs_restart(old, parse(b"node: {name: a, procfs: /p}")) == ["node.name", "node.procfs"]
    assert needs_restart(old, parse(b"client: {socket: /run/c.sock}")) == ["client.socket"]
    hot = b"sampling: {period_s: 2}\nholders: {period_s: 9}\nledger: {segment_s: 900}\n"
    hot += b"dvfs: {mode: shadow, groups: [{name: g, devices: ['0']}]}"
    assert needs_restart(old, parse(hot)) == []


def test_every_changed_key_takes_effect_or_is_named() -> None:
    class Other:
        """A value that no key has."""

    old, at_start = parse(b""), set()
    for section in type(old).model_fields:
        was = getattr(old, section)
        for key in getattr(type(was), "model_fields", ()):
            fresh = old.model_copy(update={section: was.model_copy(update={key: Other()})})
            named = needs_restart(old, fresh)
            assert named in ([], [f"{section}.{key}"])
            at_start |= set(named)
    assert at_start == {
        "node.cluster", "node.name", "node.procfs", "sources.node", "holders.kubernetes", "holders.slurm", "web.listen",
        "web.probe_listen", "client.socket", *(f"otlp.{key}" for key in Otlp.model_fields),
    }  # fmt: skip
    documented = restart_keys()
    assert {key for key in at_start if not {key, key.partition(".")[0]} & set(documented)} == set()
    assert all(name in at_start or any(key.startswith(f"{name}.") for key in at_start) for name in documented)
    slurm = parse(b"holders: {slurm: {period_s: 30, labels: {team: account}}}")
    assert needs_restart(old, slurm) == ["holders.slurm"]


def test_a_watch_waits_until_a_file_stands_still(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("a")
    watch = FileWatch(file, look_s=0)
    assert not watch.changed()
    file.write_text("ab")
    assert not watch.changed(), "it may still be written to"
    assert watch.changed()
    assert not watch.changed()
    file.unlink()
    assert [watch.changed(), watch.changed(), watch.changed()] == [False, True, False]
    file.write_text("abc")
    watch.mark_read()
    assert not watch.changed()
    os.utime(file, (1, 1))
    assert [watch.changed(), watch.changed()] == [False, True]


def test_a_watch_that_looked_a_moment_ago_does_not_look_again(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("a")
    watch = FileWatch(file, look_s=3600)
    assert not watch.changed()
    file.write_text("ab")
    assert [watch.changed() for _ in range(5)] == [False] * 5
