"""Facts against numbers worked out by hand from the entries that were booked."""

from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.core.errors import WattlensError
from energy_agent.core.types import Method, State, WorkloadFacts
from energy_agent.factors.countries import country_factor
from energy_agent.ledger import summary
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows import CELL_NS, Cell, DeviceFacts, GapRow, Span, TokenRow
from energy_agent.ledger.uncertainty import Run
from reports.facts import NO_COUNTRY, Facts, build_facts
from reports.figures import Figure
from reports.period import Period
from reports.reading import read_ledger
from reports.savings import Savings
from reports.sums import Sums
from tests.reports import ledgers

J = 1_000_000


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ledger")
    ledgers.write(folder)
    return folder


@pytest.fixture(scope="module")
def facts(state: Path) -> Facts:
    saved = Savings(Fraction(512), Fraction(300), Fraction(700), Fraction(11, 1000), "paired")
    return build_facts(read_ledger(state, Period()), country_factor("DEU"), saved)


def uj(figure: Figure) -> int:
    assert figure.value is not None
    return int(Fraction(figure.value) * J)


def test_energy_is_the_sum_of_what_was_booked(facts: Facts) -> None:
    train, chat_active, chat_idle, unheld = 60 * 600_000_003, 25 * 300 * J, 25 * 90 * J, 10 * 70_000_001
    f = facts.figures
    assert uj(f["energy.total"]) == train + chat_active + chat_idle + unheld
    assert uj(f[f"energy.device/{ledgers.GPUS[0]}"]) == train
    assert uj(f[f"energy.device/{ledgers.GPUS[1]}"]) == chat_active + chat_idle + unheld
    assert uj(f[f"energy.workload/{ledgers.TRAIN}"]) == train
    assert uj(f[f"energy.workload.active/{ledgers.CHAT}"]) == chat_active
    assert uj(f[f"energy.workload.idle/{ledgers.CHAT}"]) == chat_idle
    assert uj(f["energy.unheld"]) == unheld
    assert all(uj(x) == 0 for x in facts.by_prefix("energy.unattributed/"))
    assert facts.conservation.holds
    assert facts.conservation.device_uj == facts.conservation.buckets_uj == uj(f["energy.total"])


def test_joules_per_token_with_and_without_held_idle(facts: Facts) -> None:
    tokens = 50 * 700
    for of in (f"workload/{ledgers.CHAT}", "model/llama-3.1-8b"):
        active = facts.figures[f"joules_per_token.active/{of}"]
        held = facts.figures[f"joules_per_token.active+idle/{of}"]
        assert active.value == "0.214285714"  # 25 x 300 J over 35,000 tokens
        assert held.value == "0.278571429"  # 25 x (300 + 90) J
        assert active.sources == ("ledger", "tokens")
    assert facts.figures[f"tokens/{ledgers.CHAT}/llama-3.1-8b/generation"].value == str(tokens)


def test_every_energy_interval_holds_its_value_and_the_sensor_error(facts: Facts) -> None:
    for figure in facts.by_prefix("energy."):
        assert figure.value is not None
        assert figure.low is not None
        assert figure.high is not None
        value, low, high = Fraction(figure.value), Fraction(figure.low), Fraction(figure.high)
        assert 0 <= low <= value <= high
        assert value - low >= min(value, value * Fraction(5, 105))  # 5 % of gain is never averaged away


def test_bounds_are_those_of_the_ledger(state: Path, facts: Facts) -> None:
    rows = [located.row for located in read_rows(state)]
    total, of_total = summary.bounds(rows), facts.figures["energy.total"]
    assert (uj_text(of_total.low), uj_text(of_total.high)) == (total.low_uj, total.high_uj)
    train, of_train = summary.bounds(rows, workload=ledgers.TRAIN), facts.figures[f"energy.workload/{ledgers.TRAIN}"]
    assert (uj_text(of_train.low), uj_text(of_train.high)) == (train.low_uj, train.high_uj)
    chat, of_chat = summary.bounds(rows, workload=ledgers.CHAT), facts.figures[f"energy.workload/{ledgers.CHAT}"]
    gap_uj = 1_400 * J  # what was unseen in a cell that chat held may have been chat's
    assert (uj_text(of_chat.low), uj_text(of_chat.high)) == (chat.low_uj, chat.high_uj + gap_uj)


def uj_text(text: str | None) -> int:
    return int(Fraction(text or 0) * J)


def test_carbon_is_energy_times_the_dated_factor(facts: Facts) -> None:
    figure = facts.figures["co2e.location.total"]
    exact = Fraction(facts.conservation.device_uj, 3_600_000_000_000) * Fraction("380.95")
    assert figure.value is not None
    assert Fraction(figure.value) == pytest.approx(exact, rel=1e-8)
    assert figure.factor_ids == ("grid.location.DEU.2023.codecarbon-3.3.2",)
    assert facts.factors[0].year == 2023


def test_gaps_are_bounds_not_values(facts: Facts) -> None:
    (gap,) = facts.by_prefix("gap/")
    assert (gap.value, gap.low, gap.high) == (None, "0", "1400")
    assert gap.reason
    assert facts.figures["quality.coverage"].value == "0.967741935"  # 120 of 2 x 62 device seconds


def test_saving_stands_outside_of_the_inventory(facts: Facts) -> None:
    figure = facts.figures["dvfs.saved"]
    assert (figure.value, figure.low, figure.high) == ("512", "300", "700")
    assert facts.figures["dvfs.actions/static/set/ok"].value == "1"


def test_what_was_not_given_is_absent_with_its_reason(state: Path) -> None:
    bare = build_facts(read_ledger(state, Period()))
    assert [(f.value, f.reason) for f in bare.by_prefix("co2e.")] == [(None, NO_COUNTRY)] * 3
    assert bare.figures["dvfs.saved"].value is None
    assert bare.figures["dvfs.saved"].reason
    assert bare.factors == ()


def run(at: int, edge: int = 5) -> Run:
    return Run(at, at + 1000, edge, 0, edge)


def cell(device: str, workload: str, state: State, energy_uj: int, at: int = 0) -> Cell:
    return Cell(at, device, workload, state, Method.COUNTER, energy_uj, 1000, run(at))


def test_a_model_served_beside_another_has_no_energy_of_its_own() -> None:
    sums = Sums()
    for workload, models in (("one", ["a"]), ("two", ["a", "b"])):
        sums.add(cell("GPU-1", workload, State.ACTIVE, 4 * J), "n")
        for model in models:
            sums.add(TokenRow(0, workload, model, "generation", 0, 1000, 2), "n")
    sums.close()
    facts = build_facts(sums)
    assert facts.figures["joules_per_token.active/workload/two"].value == "1"
    for model in ("a", "b"):
        assert "two serves several models" in str(facts.figures[f"joules_per_token.active/model/{model}"].reason)


def test_no_tokens_or_no_energy_is_absent_not_zero() -> None:
    sums = Sums()
    sums.add(cell("GPU-1", "none", State.ACTIVE, 4 * J), "n")
    sums.add(TokenRow(0, "none", "a", "generation", 0, 1000, 0), "n")
    sums.add(TokenRow(0, "elsewhere", "b", "generation", 0, 1000, 9), "n")
    facts = build_facts(sums)
    assert facts.figures["joules_per_token.active/workload/none"].reason == "no token was generated"
    assert facts.figures["joules_per_token.active/workload/elsewhere"].reason == "no energy was booked to it"


def test_a_device_without_a_stated_error_has_no_interval() -> None:
    sums = Sums()
    sums.add(cell("GPU-1", "w", State.ACTIVE, 4 * J), "n")
    figure = build_facts(sums).figures["energy.total"]
    assert (figure.value, figure.low, figure.high) == ("4", None, None)


def test_books_that_do_not_add_up_are_not_published() -> None:
    sums = Sums()
    sums.add(cell("GPU-1", "w", State.ACTIVE, 4 * J), "n")
    sums.device_uj["GPU-1"] += 1
    with pytest.raises(WattlensError, match="does not add up: buckets hold 4000000 uJ, devices 4000001 uJ"):
        build_facts(sums)


def test_only_rows_of_the_period_count_and_facts_always() -> None:
    sums = Sums(Period(CELL_NS, 2 * CELL_NS))
    sums.add(DeviceFacts("GPU-1", "H100", 0.05, 0), "n")
    sums.add(WorkloadFacts("w", 0, "pod", {"namespace": "ml", "pod": "chat-0"}), "n")
    for at in (0, CELL_NS, 2 * CELL_NS):
        sums.add(cell("GPU-1", "w", State.ACTIVE, 4 * J, at), "n")
        sums.add(Span(at, "GPU-1", "", run(at)), "n")
        sums.add(GapRow(at, "GPU-1", "lost", at, at + 10, 7), "n")
        sums.add(TokenRow(at, "w", "m", "generation", at, at + 10, 3), "n")
    sums.close()
    facts = build_facts(sums)
    assert facts.figures["energy.total"].value == "4"
    assert facts.figures["tokens/w/m/generation"].value == "3"
    assert facts.workloads == {"w": "ml/chat-0"}
    assert (facts.period_start_ns, facts.period_end_ns) == (str(CELL_NS), str(2 * CELL_NS))
    assert len(facts.by_prefix("gap/")) == 1


def test_sums_past_int64_are_exact() -> None:
    sums, each = Sums(), (1 << 63) - 1
    for n in range(9):
        sums.add(cell(f"GPU-{n}", "w", State.ACTIVE, each), "n")
    assert build_facts(sums).conservation.device_uj == 9 * each
