"""Wrong usage of any command is one line that names what is wrong, before anything is printed, started or written."""

import shlex
from pathlib import Path

import pytest

from tests.support import said_here

IMPORT = "ledger import --prometheus http://127.0.0.1:1 --source dcgm --from 2026-01-01 --to 2026-01-02 --out out "
SWEEP = "dvfs sweep --out p.json "
ROOT = Path(__file__).parents[3]
V100 = f"dvfs replay --table {ROOT}/benchmarks/data/zeus/summary_power_v100.csv "
REQUESTS = ROOT / "benchmarks/data/azure-llm-2023/AzureLLMInferenceTrace_code_440.csv"
MEMORY = "expected an amount of memory such as 1GB, from 200MB to 4000GB, got "
THREADS = "--threads: expected a whole number from 1 to 1024, got "


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bogus", "--help"),
        ("demo --for soon", "--for"),
        ("sim start", "--help"),
        ("agent stop", "--help"),
        ("report bogus", "--help"),
        ("report", "--help"),
        ("demo --listen nowhere", "--listen: expected ADDRESS:PORT"),
        ("demo --for 3s", "--for: expected a duration"),
        ("demo --for nan", "--for: expected a duration"),
        ("demo --out /proc/nowhere", "--out /proc/nowhere"),
        ("doctor --for 0s", "--for"),
        ("doctor --for 5s", "--for"),
        ("doctor --overhead --pairs 1", "--pairs"),
        ("doctor --pairs 4", "--pairs"),
        ("doctor --seed 1", "--seed"),
        ("doctor --pseudonyms", "--pseudonyms"),
        ("doctor --out file", "--out"),
        ("doctor --sensors first", "--sensors"),
        ("doctor --simulate /nowhere", "/nowhere"),
        ("doctor --config /nowhere", "/nowhere"),
        ("dvfs policy list", "omit the name to list all policies"),
        (IMPORT + "--from someday", "--from/--since: "),
        (IMPORT + "--from 2026-01-01T12:10", "--from/--since: expected a quarter of an hour"),
        (IMPORT + "--to 2025-12-31", "--to: expected a time after --from"),
        (IMPORT + "--to 2126-01-01", "--to is in the future"),
        (IMPORT + "--from 1969-12-31", "--from/--since: "),
        (IMPORT + "--slice 2d", "--slice: "),
        (IMPORT + "--gain-uncertainty 150%", "--gain-uncertainty: "),
        (IMPORT + "--max-power-w 10001", "--max-power-w: "),
        (IMPORT + "--collect-interval soon", "--collect-interval: "),
        (IMPORT + "--match cluster", "--match: "),
        (IMPORT + "--match a-b=c", "'a-b' is not the name of a label"),
        (IMPORT + "--cluster a/b", "got 'a/b'"),
        (IMPORT + "--prometheus localhost:9090", "--prometheus: expected an http:// or https:// URL"),
        (IMPORT + "--prometheus http://user:hunter2@far.example", "got 'http://...@far.example'"),
        (IMPORT + "--user-file u --token-file t", "--token-file: cannot be combined with --user-file"),
        (IMPORT + "--prometheus http://far.example --token-file t", "use https:// or --insecure"),
        (IMPORT + "--signing-key no.pem", "--signing-key no.pem: no such file"),
        (IMPORT + "--signing-key .", "--signing-key .: is not a regular file"),
        ("measure", "no command given"),
        ("measure --simulate sleep", "sleep was read as the folder of --simulate"),
        ("measure --out /no/such/folder/x -- touch started", "no such folder"),
        ("measure --label no -- touch started", "--label: "),
        ("measure --gpus 1,,2 -- touch started", "measure: --gpus: GPUs '1,,2': expected indices, ranges and UUIDs"),
        ("measure --gpus 3-1 -- touch started", "'3-1' is a descending range, expected '1-3'"),
        ("measure --gpus 0 --workload x -- touch started", "cannot be combined with"),
        ("measure --tokens-from file:///x -- touch started", "expected an http:// or https:// URL"),
        ("measure --tokens-from http://a/ --token-server x -- touch started", "known: dynamo"),
        ("measure --otlp localhost:4318 -- touch started", "--otlp"),
        ("measure --otlp http://user:hunter2@host -- touch started", "--otlp"),
        ("measure --otlp ftp://host -- touch started", "--otlp"),
        ("compare /no/a /no/b", "/no/a"),
        ("compare", "expected A B or A... -- B..., got no runs"),
        ("compare a", "expected A B or A... -- B..., got 1 run without --"),
        ("compare a b c", "expected A B or A... -- B..., got 3 runs without --"),
        ("compare a --", "expected A B or A... -- B..., got runs of one side only"),
        ("compare a -- b -- c", "expected A B or A... -- B..., got 3 groups of runs"),
        ("dvfs replay", "expected one of --table --profile"),
        (V100 + "--profile p", "--profile: cannot be combined with --table"),
        (V100 + "--chart none/there/c.svg", "--chart: cannot write none/there/c.svg"),
        (V100 + "--chart c.png", ".svg"),
        (V100 + "--policy slo", "--policy: expected one of progress, got 'slo'"),
        (V100 + "--slowdown 0", "--slowdown: expected a"),
        (V100 + "--steps 0", "--steps: expected a"),
        (V100 + "--noise=-1", "--noise: expected a"),
        (V100 + "--seeds 0", "--seeds: expected a"),
        ("dvfs replay --table none.csv", "none.csv: cannot read"),
        (f"dvfs replay --table {REQUESTS}", "expected one of the columns power_limit"),
        ("dvfs replay --profile p --policy budget", "--policy: expected one of progress, got 'budget'"),
        ("dvfs sweep", "missing --out"),
        ("dvfs sweep --out /no/such/p.json", "no such folder"),
        (SWEEP + "--resume", "--resume: p.json: no such file"),
        (SWEEP + "--resume --clocks 1005", "--clocks: cannot be combined with --resume, which continues the plan in p.json"),
        (SWEEP + "--clocks fast", "--clocks: expected numbers"),
        (SWEEP + "--clocks 1005 --knob power", "--knob power sets no clocks"),
        (SWEEP + "--interval 2s", "--interval: expected a"),
        (SWEEP + "--repeats 1", "--repeats: expected a"),
        (SWEEP + "--precision 200%", "--precision: expected a share"),
        (SWEEP + "--work-from http://x/", "--work-from and --work-metric: expected both"),
        (SWEEP + "--work epochs", "--work: expected steps or tokens without --work-from, got 'epochs'"),
        (SWEEP + "--tokens-from ftp://x/", "--tokens-from: expected an http:// or https:// URL"),
        (SWEEP + "--simulate /no/such", "no simulated node runs in /no/such"),
        ("top --url ftp://x", "--url"),
        ("top --interval 0", "--interval"),
        ("top --interval 1", "--interval"),
        ("top --simulate /nonexistent --url http://127.0.0.1:1", "--url"),
        ("top --simulate /nonexistent --user-file x", "credentials"),
        ("top --user-file /nonexistent", "--user-file"),
        ("report --threads 0", THREADS + "0"),
        ("report verify o --threads many", THREADS + "many"),
        ("report sample o --threads 0", THREADS + "0"),
        ("report --memory 100MB", "--memory: " + MEMORY + "100MB"),
        ("report verify o --memory 5000GB", "--memory: " + MEMORY + "5000GB"),
        ("report sample o --memory 8", "--memory: " + MEMORY + "8"),
        ('report --memory "1GB\'; --"', "1GB'; --"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(command: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_refusal(command, words, 2, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (IMPORT, "connection refused"),
        (SWEEP + "--actuator /no/such.sock", "no response at /no/such.sock"),
        ("top --url http://127.0.0.1:1/metrics", "--url"),
        ("top --simulate /nonexistent", "no simulated node"),
        ("dvfs status --socket none", "no response at none"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_1(
    command: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_refusal(command, words, 1, tmp_path, monkeypatch)


def check_refusal(command: str, words: str, code: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = said_here(*shlex.split(command))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done
    assert done.stderr.startswith("wattlens")
    assert words in done.stderr
    assert "hunter2" not in done.stderr
    assert not any(folder.iterdir())
