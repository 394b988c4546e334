"""A ledger is verified before a figure is made of it."""

from pathlib import Path

import pytest

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from reports.period import Period, from_quarter
from reports.reading import read_ledger
from tests.reports import ledgers


def test_a_state_folder_and_its_segments_give_the_same_sums(tmp_path: Path) -> None:
    folder = ledgers.write(tmp_path)
    of_state, of_segments = read_ledger(tmp_path, Period()), read_ledger(folder, Period())
    assert of_state == of_segments
    (chain,) = of_state.chains
    assert (chain.first_sequence, chain.last_sequence, chain.version) == (0, 2, "0.1.0")
    assert of_state.simulated


def test_how_often_a_segment_was_sealed_changes_no_sum(tmp_path: Path) -> None:
    ledgers.write(tmp_path / "a", sealed_every=60)
    ledgers.write(tmp_path / "b", sealed_every=1)
    one, many = read_ledger(tmp_path / "a", Period()), read_ledger(tmp_path / "b", Period())
    assert len(list((tmp_path / "b" / "segments").iterdir())) > 50
    assert (one.energy, one.device_uj, one.tokens, one.gaps) == (many.energy, many.device_uj, many.tokens, many.gaps)


def test_nodes_add_up_and_one_simulated_node_marks_the_whole(tmp_path: Path) -> None:
    ledgers.write(tmp_path / "a", "node-a", simulated=False)
    ledgers.write(tmp_path / "b", "node-b", simulated=True)
    sums = read_ledger(tmp_path, Period())
    assert [(c.node, c.last_sequence) for c in sums.chains] == [("node-a", 2), ("node-b", 2)]
    assert sums.simulated
    assert not read_ledger(tmp_path / "a", Period()).simulated


@pytest.mark.parametrize("harm", ["missing", "flipped", "swapped"])
def test_a_broken_chain_names_the_segment(tmp_path: Path, harm: str) -> None:
    folder = ledgers.write(tmp_path / "a")
    other = ledgers.write(tmp_path / "b", seconds=50)
    victim = sorted(folder.iterdir())[1]
    if harm == "missing":
        victim.unlink()
        victim = sorted(folder.iterdir())[1]
    elif harm == "flipped":
        raw = bytearray(victim.read_bytes())
        raw[len(raw) // 2] ^= 0x40
        victim.write_bytes(raw)
    else:
        victim.write_bytes((sorted(other.iterdir())[0]).read_bytes())
    with pytest.raises(ChainError) as caught:
        read_ledger(folder, Period())
    assert victim.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_ledger_and_an_empty_period_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WattlensError, match="no segments"):
        read_ledger(tmp_path / "empty", Period())
    with pytest.raises(UsageError):
        read_ledger(tmp_path / "nowhere", Period())
    ledgers.write(tmp_path / "a")
    with pytest.raises(WattlensError, match="the ledger holds 2026-07-01T00:00:00Z to 2026-07-01T00:01:02Z"):
        read_ledger(tmp_path / "a", from_quarter("2020Q1"))
