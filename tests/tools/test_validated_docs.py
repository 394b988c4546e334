"""The table of docs/validated-on.md has results that it may have."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.ledger.signing import open_signer
from tests.support import refusal
from tools.validated_docs import read_for_table, table
from wattlens.doctor.acceptance.criteria import judge
from wattlens.doctor.acceptance.result import AcceptanceResult, AgentResult, EngineResult, Estimate, GpuResult
from wattlens.doctor.acceptance.result_file import decode, encode, with_criteria

AGENT = AgentResult(True, "0.1.0", 598, 0, 0, 0, 0.006, 60 << 20, "/proc", 0.02)
GPUS = tuple(
    GpuResult(
        index, "NVIDIA H100 80GB HBM3", "Hopper", agent_j=300_010.0, counter_j=Estimate(300_000.0, 299_960.0, 300_040.0),
        intervals=597, covered=597,
    )
    for index in range(2)
)  # fmt: skip
RESULT = AcceptanceResult(
    "acceptance", 1, "", "0.1.0", "lab 1", False, "2026-11-29", "580.65.06", "13.580.65.06", 600.0, GPUS, AGENT,
    (EngineResult("vllm", (0,), Estimate(1.25), Estimate(1.251, 1.24, 1.26), 200_000),),
)  # fmt: skip


def write(folder, name="h100.jsonl", signer=None, **changes):
    path = folder / name
    path.write_bytes(encode(with_criteria(replace(RESULT, **changes)), signer))
    return path


def test_without_a_result_the_page_states_that(tmp_path) -> None:
    assert table(tmp_path).strip() == "No result from a real GPU has been contributed yet."


def test_a_row_per_result(tmp_path) -> None:
    signer, _ = open_signer(tmp_path)
    assert signer is not None
    write(tmp_path, signer=signer)
    write(tmp_path, "unsigned.jsonl", label="")
    rows = table(tmp_path).strip().splitlines()[2:]
    assert rows[0].startswith("| 2 x NVIDIA H100 80GB HBM3 | 580.65.06 | 0.1.0 | 2026-11-29 | +10.0 J (+0.003%) in 10 min |")
    assert "vllm: 1.2500, 1.2510" in rows[0]
    assert rows[0].endswith(f"[lab 1](acceptance/h100.jsonl), key `{signer.key[:16]}` |")
    assert rows[1].endswith("[file](acceptance/unsigned.jsonl), unsigned |")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"simulated": True}, "simulated"),
        ({"seconds": 599.0}, "at least 600 s"),
        ({"agent": replace(AGENT, restarts=1)}, "not accepted: restarts"),
        ({"gpus": (replace(GPUS[0], agent_j=302_000.0),)}, "not accepted: energy"),
        ({"gpus": (replace(GPUS[0], covered=596),)}, "not accepted: intervals"),
        ({"gpus": (replace(GPUS[0], model="x|y"),)}, "gpus.0.model"),
        ({"gpus": (GPUS[0], GPUS[0])}, "duplicate GPU"),
        ({"label": "[x](http://example.org)"}, "label"),
    ],
)
def test_other_results_are_refused(tmp_path, changes, reason) -> None:
    assert reason in refusal(read_for_table, write(tmp_path, **changes))


def test_names_and_copies_are_refused(tmp_path) -> None:
    assert "expected a name" in refusal(read_for_table, write(tmp_path, "a b.jsonl"))
    (tmp_path / "a b.jsonl").unlink()
    write(tmp_path, "a.jsonl")
    write(tmp_path, "b.jsonl")
    assert "the same result as" in refusal(table, tmp_path)


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    signer, _ = open_signer(tmp_path_factory.mktemp("key"))
    return encode(with_criteria(RESULT), signer)


@given(st.data())
def test_any_change_of_a_signed_result_is_refused(signed, data) -> None:
    at = data.draw(st.integers(0, len(signed)))
    cut = data.draw(st.integers(0, 8))
    changed = signed[:at] + data.draw(st.binary(max_size=8)) + signed[at + cut :]
    if changed != signed:
        assert len(refusal(decode, changed, "file")) < 400


def test_absent_criteria_do_not_fail() -> None:
    criteria = judge(replace(RESULT, engines=(), engines_reason="no engine"))
    assert {c.name for c in criteria if c.passed is None} == {"J per token", "power of idle GPUs"}
    assert not [c for c in criteria if c.passed is False]
