"""What top says of pages: rates against the player's truth, absence where there is nothing, no jump when a GPU comes back."""

from dataclasses import replace

import pytest

from energy_agent.core.energy import SourceHealth
from energy_agent.core.snapshot import DvfsDevice
from tests.snapshots import CHAT_TOKENS, POWER_W, STEP_S, Player, uuid
from tests.wattlens.top.frames import T0_NS, page_at, page_of, played
from wattlens.top.history import GRAVE, WORDS, History


def test_rates_are_those_of_the_player() -> None:
    facts = played(Player())
    assert [g.rate_w for g in facts.gpus] == pytest.approx([POWER_W] * 8)
    assert [g.since_j for g in facts.gpus] == pytest.approx([POWER_W * 5] * 8)
    assert facts.node.since_j == pytest.approx(POWER_W * 5 * 8)
    assert (facts.node.power_w, facts.node.boundary) == (POWER_W * 8, "gpu")
    train, chat = (next(w for w in facts.workloads if w.name == name) for name in ("train", "chat"))
    assert (train.now_w, train.gpus, train.j_per_token) == (pytest.approx(POWER_W * 6), tuple("012345"), None)
    assert train.active_since_j + train.idle_since_j == pytest.approx(sum(g.since_j for g in facts.gpus[:6]))
    assert train.active_j > 10 * train.active_since_j  # it has run for long
    assert chat.tokens_per_s == pytest.approx(CHAT_TOKENS["generation"] / STEP_S)
    assert chat.j_per_token == pytest.approx(POWER_W * STEP_S / CHAT_TOKENS["generation"])


def test_of_one_page_there_is_no_rate() -> None:
    facts = History().add(page_at(Player(), 1000))
    assert {g.rate_w for g in facts.gpus} == {None}
    assert {w.now_w for w in facts.workloads} == {None}
    assert {w.j_per_token for w in facts.workloads} == {None}


def test_a_lost_gpu_has_its_reason_and_no_number() -> None:
    gpu = played(Player(lost={2})).gpus[2]
    assert (gpu.up, gpu.reason) == (False, "GPU_IS_LOST")
    readings = [getattr(gpu, name) for name in gpu.__slots__ if name.endswith(("_w", "_hz", "_c", "_b", "_j", "_ratio"))]
    assert readings == [None] * len(readings)


def test_a_gpu_that_comes_back_higher_is_no_burst_of_power() -> None:
    history = History()
    history.add(page_at(Player(), 1000))
    history.add(page_at(Player(lost={6}), 1010))
    facts = history.add(page_at(Player(), 9010))
    assert facts.gpus[6].rate_w == pytest.approx(POWER_W)  # both pages of the rate have it: it drew this all the time
    late = History()
    late.add(page_at(Player(lost={0}), 1000))
    facts = late.add(page_at(Player(), 1010))
    train = next(w for w in facts.workloads if w.name == "train")
    assert facts.gpus[0].rate_w is None
    assert train.now_w == pytest.approx(POWER_W * 5)


def test_a_workload_that_comes_while_top_runs_counts_from_0_and_one_on_a_gpu_that_comes_back_from_there() -> None:
    history = History()
    snapshot = Player().at(1000)
    train_alone = tuple(w for w in snapshot.workloads if w.workload == "train")
    history.add(page_of(replace(snapshot, workloads=train_alone), 100.0))
    facts = history.add(page_at(Player(), 1010))
    chat = next(w for w in facts.workloads if w.name == "chat")
    assert chat.active_since_j + chat.idle_since_j == pytest.approx(chat.active_j + chat.idle_j)
    late = History()
    late.add(page_at(Player(lost={6}), 1000))
    facts = late.add(page_at(Player(), 1010))
    chat = next(w for w in facts.workloads if w.name == "chat")
    assert (chat.active_since_j, chat.idle_since_j) == (0.0, 0.0)


def test_joules_per_token_are_absent_while_a_gpu_of_the_workload_is_silent() -> None:
    history = History()
    history.add(page_at(Player(), 1000))
    for step in (1010, 1020):
        facts = history.add(page_at(Player(lost={6}), step))
    assert all(w.j_per_token is None for w in facts.workloads)


def test_who_has_ended_holds_nothing() -> None:
    history, player = History(), Player()
    for second in range(6):
        snapshot = player.at(1000 + second * 10, T0_NS + second * 10**9)
        still = tuple(w if w.workload != "chat" else replace(w, energy_uj=7) for w in snapshot.workloads)
        facts = history.add(page_of(replace(snapshot, workloads=still), float(second)))
    assert {w.name: w.held for w in facts.workloads} == {"train": True, "chat": False}
    assert facts.gpus[6].holders == ()


@pytest.mark.parametrize(("reason", "share", "named"), [
    ("sw_power_cap", 0.3, True), ("sw_power_cap", 0.1, False), ("idle", 0.3, False), ("idle", 0.9, True),
    ("hw_power_brake", 0.01, True), ("hw_thermal_slowdown", 0.0, False),
])  # fmt: skip
def test_a_reason_is_named_by_how_long_it_held(reason: str, share: float, named: bool) -> None:
    history, player = History(), Player(gpus=3)
    for second in range(4):
        snapshot = player.at(1000 + second * 10, T0_NS + second * 10**9)
        event = {reason: 10**9 + round(second * share * 1e9)}
        facts = history.add(
            page_of(replace(snapshot, devices=tuple(replace(d, event_ns=event) for d in snapshot.devices)), second)
        )
    assert facts.gpus[0].why == ((WORDS[reason],) if named else ())


def test_every_reason_of_the_driver_has_its_word() -> None:
    from energy_agent.core.energy import EVENT_REASONS

    assert set(WORDS) == set(EVENT_REASONS.values())
    assert set(GRAVE) <= set(WORDS)


def test_sources_that_are_down_and_gpus_never_read_are_told() -> None:
    player = Player(gpus=3)
    snapshot = player.at(1000)
    lost = SourceHealth("nvml", False, "index 7", "GPU_IS_LOST")
    facts = History().add(page_of(replace(snapshot, health=(*snapshot.health, lost)), 0.0))
    assert facts.node.down == ("tokens: connection refused",)
    assert [(g.gpu, g.up, g.reason) for g in facts.gpus][-1] == ("7", False, "GPU_IS_LOST")
    assert (facts.node.gpus, facts.node.gpus_up) == (4, 3)


def test_a_ledger_that_cannot_be_written_says_so() -> None:
    snapshot = Player().at(1000)
    facts = History().add(page_of(replace(snapshot, ledger=replace(snapshot.ledger, writable=False)), 0.0))
    assert facts.node.ledger.startswith("CANNOT BE WRITTEN")
    assert uuid(0) == facts.gpus[0].uuid


def test_meters_of_the_node_stand_beside_the_gpus_and_the_boundary_is_the_agents_word() -> None:
    page = page_at(Player(), 1000)
    page.samples["wattlens_energy_boundary_info"] = {(("boundary", "gpu+cpu"),): 1.0}
    page.samples["wattlens_node_power_watts"] = {
        (("domain", "package-0"), ("source", "rapl")): 180.0,
        (("domain", "node"), ("source", "redfish")): 6100.0,
    }
    node = History().add(page).node
    assert node.boundary == "gpu+cpu"
    assert node.other_w == (("rapl package-0", 180.0), ("redfish node", 6100.0))
    assert node.power_w == POWER_W * 8


def test_a_gpu_that_is_not_steered_by_design_has_the_reason_and_is_no_source_that_is_down() -> None:
    snapshot = Player().at(1000)
    exempt = DvfsDevice(uuid(7), "observe", lease_active=False, exempt=("job", "GPU 7 is in MIG mode"))
    facts = History().add(page_of(replace(snapshot, dvfs=(*snapshot.dvfs, exempt)), 100.0))
    assert facts.gpus[7].steering == "not steered: GPU 7 is in MIG mode"
    assert facts.node.down == History().add(page_of(snapshot, 100.0)).node.down
