"""The open protocol for serving: every policy that serves, hostile lines, and the same decisions as over an `Observation`."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dvfs.policies as package
from dvfs.replay.stdio.lines import MAX_LINE, JsonLines
from dvfs.replay.stdio.serving import ServingPeriod, replies
from energy_agent.core import plugin
from energy_agent.core.errors import UsageError
from tests.support import Said, said_here
from wattlens.cli import main

SERVING = sorted(name for name, spec in plugin.discover(package).items() if getattr(spec, "serves", False))
DOCS = Path(__file__).parents[4] / "docs/dvfs.md"
START = {"settings": [990, 1980, 1320, 1650], "slo": {"ttft_ms": 500, "itl_ms": 50, "attainment": 0.99}}
EDGES = [0.025, 0.05, 0.25, 0.5, 1.0]


def histogram(count: int, seconds: float) -> dict:
    buckets = [[edge, count if seconds <= edge else 0] for edge in EDGES]
    return {"sum": count * seconds, "count": count, "buckets": [*buckets, ["+Inf", count]]}


def period(n: int, period_s: float = 1.0, ttft_s: float = 0.1, itl_s: float = 0.01, **more: object) -> dict:
    """The n-th line of a steady server that ends four requests per period."""
    counts = {"tokens": {"prompt": 4000 * n, "generation": 400 * n}, "requests": 4 * n, "running": 2, "waiting": 0}
    latencies = {"ttft": histogram(4 * n, ttft_s), "itl": histogram(400 * n, itl_s)}
    return {"t_s": n * period_s, "energy_j": 300.0 * n * period_s} | counts | latencies | more


def talk(name: str, *lines: object) -> list[dict]:
    texts = [line if isinstance(line, str | bytes) else json.dumps(line) for line in lines]
    return [json.loads(text) for text in replies(plugin.load(package, name), JsonLines(texts))]


def test_the_policies_that_serve() -> None:
    assert SERVING == ["aimd", "bisect", "slo"]


@pytest.mark.parametrize("period_s", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("name", ["aimd", "bisect", "slo"])
def test_with_slack_the_clock_falls_and_missing_metrics_release_it(name: str, period_s: float) -> None:
    start = {**START, "period_s": period_s}
    lines = [period(n, period_s) for n in range(1, 600)]
    answers = talk(name, start, *lines, {"t_s": 600 * period_s})
    assert {answer["setting"] for answer in answers} <= set(START["settings"])
    assert answers[-2]["setting"] == 990
    assert answers[-1] == {"setting": 1980, "reason": "missing_queue"}


def test_slo_lowers_the_clock_of_a_light_load() -> None:
    answers = talk("slo", START, *(period(n) for n in range(1, 400)))
    assert min(answer["setting"] for answer in answers) < 1980
    assert {answer["setting"] for answer in answers} <= set(START["settings"])


@pytest.mark.parametrize(("role", "missing"), [("prefill", "itl"), ("decode", "ttft")])
@pytest.mark.parametrize("name", ["aimd", "bisect", "slo"])
def test_a_pool_needs_only_its_own_latency(name: str, role: str, missing: str) -> None:
    lines = [period(n, **{missing: None}) for n in range(1, 400)]
    assert talk(name, {**START, "role": role}, *lines)[-1]["setting"] == 990
    assert talk(name, START, *lines)[-1] == {"setting": 1980, "reason": f"missing_{missing}"}


@pytest.mark.parametrize("name", ["aimd", "bisect", "slo"])
def test_each_reason_is_in_the_docs(name: str) -> None:
    section = DOCS.read_text().split("### Reasons of serving policies")[1].split("\n## ")[0]
    documented = set(re.findall(r"`(\w+)`", section))
    calm = [period(n) for n in range(1, 900)]
    queue = [period(n, waiting=30 * (n < 910)) for n in range(900, 1000)]
    late = [{**period(n), "ttft": histogram(4 * n, 0.9)} for n in range(1000, 1100)]
    other = [{**period(n), "tokens": {"prompt": 90000 * n, "generation": 400 * n}} for n in range(1100, 1200)]
    answers = talk(name, START, *calm, *queue, *late, *other, {"t_s": 1200}, {"t_s": 1201, "waiting": 0})
    reasons = {answer["reason"] for answer in answers}
    assert reasons <= documented
    assert {"learning", "queue", "missing_queue", "missing_ttft"} <= reasons


@pytest.mark.parametrize(
    ("line", "key"),
    [({"waiting": -1}, "waiting"), ({"running": "2"}, "running"), ({"ttft": {"buckets": [[0.5, -1]]}}, "ttft.buckets.0.1")],
)
def test_a_refused_value_is_named_by_its_key(line: dict, key: str) -> None:
    with pytest.raises(UsageError, match=rf"^line 2: {re.escape(key)}: Input should be "):
        talk("slo", START, period(1, **line))


def test_by_the_command_each_line_is_answered_before_the_next_is_written() -> None:
    command = [sys.executable, "-m", "wattlens", "dvfs", "policy", "aimd", "--stdio"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        process.stdin.write(json.dumps(START) + "\n")
        for n in range(1, 20):
            process.stdin.write(json.dumps(period(n)) + "\n")
            assert set(json.loads(process.stdout.readline())) == {"setting", "reason"}
        process.stdin.close()
        assert process.wait(60) == 0


def run(name: str, raw: bytes) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return said_here("dvfs", "policy", name, "--stdio")


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("slo", b"\xff\xfe\n", "line 1: Invalid JSON"),
        ("bisect", json.dumps(START).encode() + b"\n" + b"x" * (3 * MAX_LINE), "line 2: expected at most 1048576 bytes"),
        ("bisect", b'{"slo": 3}\n', "line 1: settings: Field required"),
        ("phase", b"", "dvfs policy: --stdio: expected one of aimd, bisect, progress, slo, got phase"),
        ("progress", json.dumps(START).encode(), "progress steers training jobs, which have no slo"),
    ],
)
def test_a_wrong_line_ends_the_command_in_one_line(name: str, raw: bytes, says: str) -> None:
    done = run(name, raw)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says in done.stderr


@pytest.mark.parametrize("closed", ["stdin", "stdout"])
def test_without_input_or_output_the_command_ends_in_one_line(monkeypatch, capsys, closed: str) -> None:
    monkeypatch.setattr(sys, closed, None)
    assert main(["dvfs", "policy", "slo", "--stdio"]) == 2
    assert capsys.readouterr().err == "wattlens: dvfs policy: --stdio: stdin or stdout is closed\n"


def test_a_list_without_output_is_no_error(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["dvfs", "policy"]) == 0


@pytest.mark.parametrize(("more", "code"), [(0, 0), (1, 2)])
def test_a_line_may_be_as_long_as_the_docs_say(more: int, code: int) -> None:
    line = json.dumps(START).encode()
    assert run("slo", line + b" " * (2**20 - len(line) + more) + b"\n").returncode == code


def test_all_but_the_time_of_a_period_may_be_null() -> None:
    empty = dict.fromkeys(ServingPeriod.model_fields)
    assert talk("slo", START, period(1), {**empty, "t_s": 2})[-1] == {"setting": 1980, "reason": "missing_queue"}


def test_bisect_takes_both_protocols() -> None:
    lines = [{"settings": [100, 200]}, {"left": 0}]
    done = run("bisect", "\n".join(map(json.dumps, lines)).encode())
    assert [json.loads(line) for line in done.stdout.splitlines()][-1] == {"chosen": 200}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([{**START, "slo": {}}], "line 1: slo: expected ttft_ms or itl_ms"),
        ([{**START, "role": "decode", "slo": {"ttft_ms": 5}}], "slo: expected itl_ms"),
        ([{**START, "slo": {"ttfs_ms": 5}}], "slo.ttfs_ms: Extra inputs are not permitted"),
        ([{**START, "slo": {"ttft_ms": 5, "attainment": 1}}], "slo.attainment"),
        ([{**START, "settings": [1980]}], "settings: List should have at least 2 items"),
        ([{**START, "settings": [1980, 1980]}], "expected at least two different clocks"),
        ([{**START, "settings": [1980, True]}], "settings.1"),
        ([{**START, "period_s": 0.1}], "period_s"),
        ([{**START, "period_s": 6}], "period_s"),
        ([{**START, "knob": "power_limit_w"}], "knob"),
        ([START, {}], "line 2: t_s: Field required"),
        ([START, {"t_s": 2}, "", {"t_s": 2}], "line 4: t_s: expected more than 2, got 2"),
        ([START, {"t_s": -1}], "line 2: t_s"),
        ([START, '{"t_s": NaN}'], "line 2"),
        ([START, '{"t_s": 1, "energy_j": 1e999}'], "line 2"),
        ([START, {"t_s": 1, "waiting": -1}], "waiting"),
        ([START, {"t_s": 1, "ttft": {"buckets": [[0.5, 1], [0.25, 2]]}}], "ttft: buckets: expected rising upper edges"),
        ([START, {"t_s": 1, "ttft": {"buckets": [["+Inf", 1], [0.25, 2]]}}], "expected rising upper edges"),
        ([START, {"t_s": 1, "ttft": {"buckets": [[0.25, 2], ["+Inf", 1]]}}], "expected cumulative counts"),
        ([START, {"t_s": 1, "ttft": {"count": 1, "buckets": [["+Inf", 2]]}}], "count: expected at least"),
        ([START, {"t_s": 1, "ttft": {"buckets": [[0.25]]}}], "ttft.buckets"),
        ([START, {"t_s": 1, "ttft": {"buckets": [["inf", 1]]}}], "ttft.buckets.0.0: "),
        ([START, {"t_s": 1, "ttft": {"buckets": [[1e10, 1]]}}], r"at most 1e\+09 s"),
        ([START, "[" * 5000], "line 2"),
        ([START, "null"], "line 2"),
    ],
)
def test_a_wrong_line_is_named(lines: list[object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        talk("aimd", *lines)


PRESENT = st.integers(0, 10**15) | st.floats(0, 1e15)
NUMBERS = st.none() | PRESENT
COUNTS = st.lists(PRESENT, min_size=1, max_size=4).map(sorted)
HISTOGRAMS = st.none() | st.builds(
    lambda counts, total: {"sum": total, "buckets": [[0.1 * (i + 1), n] for i, n in enumerate(counts)]}, COUNTS, NUMBERS
)
PERIODS = st.fixed_dictionaries(
    {"ttft": HISTOGRAMS, "itl": HISTOGRAMS, "tokens": st.fixed_dictionaries({"prompt": NUMBERS, "generation": NUMBERS})}
    | dict.fromkeys(("energy_j", "requests", "running", "waiting", "drafts", "accepted", "engine_steps"), NUMBERS)
)


@given(st.sampled_from(SERVING), st.lists(PERIODS, max_size=12), st.floats(0.2, 5.0))
def test_any_counters_are_answered_with_a_setting_or_a_usage_error(name: str, periods: list[dict], period_s: float) -> None:
    def lines() -> Iterator[str]:
        yield json.dumps({**START, "period_s": period_s})
        for n, one in enumerate(periods, 1):
            yield json.dumps(one | {"t_s": n * period_s})

    with suppress(UsageError):
        for text in replies(plugin.load(package, name), JsonLines(lines())):
            assert json.loads(text)["setting"] in START["settings"]
