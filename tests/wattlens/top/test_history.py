"""Frames of responses: rates against the player's truth, absence where there is nothing, no jump when a GPU comes back."""

from dataclasses import replace

import pytest

from energy_agent.core.energy import SourceHealth
from energy_agent.core.snapshot import DvfsDevice
from tests.snapshots import CHAT_TOKENS, POWER_W, STEP_S, TRAIN_STEPS, Player, uuid
from tests.wattlens.top.frames import T0_NS, play, response_at, response_of
from wattlens.top.frame import TopFrame, WorkloadStatus
from wattlens.top.history import GRAVE, WORDS, MetricsHistory


def workload_of(frame: TopFrame, name: str) -> WorkloadStatus:
    return next(workload for workload in frame.workloads if workload.name == name)


def test_rates_are_those_of_the_player() -> None:
    frame = play(Player())
    assert [g.rate_w for g in frame.gpus] == pytest.approx([POWER_W] * 8)
    assert [g.since_j for g in frame.gpus] == pytest.approx([POWER_W * 5] * 8)
    assert frame.node.since_j == pytest.approx(POWER_W * 5 * 8)
    assert (frame.node.power_w, frame.node.boundary) == (POWER_W * 8, "gpu")
    train, chat = (workload_of(frame, name) for name in ("train", "chat"))
    assert (train.now_w, train.gpus, train.j_per_token) == (pytest.approx(POWER_W * 6), tuple("012345"), None)
    assert train.active_since_j + train.idle_since_j == pytest.approx(sum(g.since_j for g in frame.gpus[:6]))
    assert train.active_j > 10 * train.active_since_j  # it has run for long
    assert chat.tokens_per_s == pytest.approx(CHAT_TOKENS["generation"] / STEP_S)
    assert chat.j_per_token == pytest.approx(POWER_W * STEP_S / CHAT_TOKENS["generation"])


def test_of_one_page_there_is_no_rate() -> None:
    frame = MetricsHistory().add(response_at(Player(), 1000))
    assert {g.rate_w for g in frame.gpus} == {None}
    assert {w.now_w for w in frame.workloads} == {None}
    assert {w.j_per_token for w in frame.workloads} == {None}


def test_a_lost_gpu_has_its_reason_and_no_number() -> None:
    gpu = play(Player(lost={2})).gpus[2]
    assert (gpu.up, gpu.reason) == (False, "GPU_IS_LOST")
    names = [n for n in gpu.__slots__ if n.endswith(("_w", "_hz", "_c", "_b", "_j", "_ratio")) and "history" not in n]
    readings = [getattr(gpu, name) for name in names]
    assert readings == [None] * len(readings)


def test_a_gpu_that_comes_back_higher_is_no_burst_of_power() -> None:
    history = MetricsHistory()
    history.add(response_at(Player(), 1000))
    history.add(response_at(Player(lost={6}), 1010))
    frame = history.add(response_at(Player(), 9010))
    assert frame.gpus[6].rate_w == pytest.approx(POWER_W)  # both pages of the rate have it: it drew this all the time
    late = MetricsHistory()
    late.add(response_at(Player(lost={0}), 1000))
    frame = late.add(response_at(Player(), 1010))
    train = workload_of(frame, "train")
    assert frame.gpus[0].rate_w is None
    assert train.now_w == pytest.approx(POWER_W * 5)


def test_a_workload_that_comes_while_top_runs_counts_from_0_and_one_on_a_gpu_that_comes_back_from_there() -> None:
    history = MetricsHistory()
    snapshot = Player().at(1000)
    train_alone = tuple(w for w in snapshot.workloads if w.workload == "train")
    history.add(response_of(replace(snapshot, workloads=train_alone), 100.0))
    frame = history.add(response_at(Player(), 1010))
    chat = workload_of(frame, "chat")
    assert chat.active_since_j + chat.idle_since_j == pytest.approx(chat.active_j + chat.idle_j)
    late = MetricsHistory()
    late.add(response_at(Player(lost={6}), 1000))
    frame = late.add(response_at(Player(), 1010))
    chat = workload_of(frame, "chat")
    assert (chat.active_since_j, chat.idle_since_j) == (0.0, 0.0)


def test_joules_per_token_are_absent_while_a_gpu_of_the_workload_is_silent() -> None:
    history = MetricsHistory()
    history.add(response_at(Player(), 1000))
    for step in (1010, 1020):
        frame = history.add(response_at(Player(lost={6}), step))
    assert all(w.j_per_token is None for w in frame.workloads)


def test_ended_workload_has_no_gpu() -> None:
    history, player = MetricsHistory(), Player()
    for second in range(6):
        snapshot = player.at(1000 + second * 10, T0_NS + second * 10**9)
        still = tuple(w if w.workload != "chat" else replace(w, energy_uj=7) for w in snapshot.workloads)
        frame = history.add(response_of(replace(snapshot, workloads=still), float(second)))
    assert {w.name: w.has_gpu for w in frame.workloads} == {"train": True, "chat": False}
    assert frame.gpus[6].workloads == ()


@pytest.mark.parametrize(("reason", "share", "named"), [
    ("sw_power_cap", 0.3, True), ("sw_power_cap", 0.1, False), ("idle", 0.3, False), ("idle", 0.9, True),
    ("hw_power_brake", 0.01, True), ("hw_thermal_slowdown", 0.0, False),
])  # fmt: skip
def test_a_reason_is_named_by_how_long_it_held(reason: str, share: float, named: bool) -> None:
    history, player = MetricsHistory(), Player(gpus=3)
    for second in range(4):
        snapshot = player.at(1000 + second * 10, T0_NS + second * 10**9)
        event = {reason: 10**9 + round(second * share * 1e9)}
        frame = history.add(
            response_of(replace(snapshot, devices=tuple(replace(d, event_ns=event) for d in snapshot.devices)), second)
        )
    assert frame.gpus[0].why == ((WORDS[reason],) if named else ())


def test_every_reason_of_the_driver_has_its_word() -> None:
    from energy_agent.core.energy import EVENT_REASONS

    assert set(WORDS) == set(EVENT_REASONS.values())
    assert set(GRAVE) <= set(WORDS)


def test_failed_sources_and_unread_gpus_are_listed() -> None:
    player = Player(gpus=3)
    snapshot = player.at(1000)
    lost = SourceHealth("nvml", False, "index 7", "GPU_IS_LOST")
    frame = MetricsHistory().add(response_of(replace(snapshot, health=(*snapshot.health, lost)), 0.0))
    assert frame.node.down == ("tokens: connection refused",)
    assert [(g.gpu, g.up, g.reason) for g in frame.gpus][-1] == ("7", False, "GPU_IS_LOST")
    assert (frame.node.gpus, frame.node.gpus_up) == (4, 3)


def test_unwritable_ledger_is_reported() -> None:
    snapshot = Player().at(1000)
    frame = MetricsHistory().add(response_of(replace(snapshot, ledger=replace(snapshot.ledger, writable=False)), 0.0))
    assert frame.node.ledger.startswith("NOT WRITABLE")
    assert uuid(0) == frame.gpus[0].uuid


def test_meters_of_the_node_are_apart_from_the_gpus_and_the_boundary_is_the_agents() -> None:
    node = MetricsHistory().add(response_at(Player(node=True), 1000)).node
    assert node.boundary == "node"
    assert node.other_w == (("rapl package-0", 10.0), ("redfish node", 2 * POWER_W * 8))
    assert node.power_w == POWER_W * 8


def test_energy_per_training_step_is_of_whole_steps() -> None:
    """A step that takes longer than the window of rates: 60 player steps per training step, seen once per second."""
    history, player = MetricsHistory(), Player()
    for second in range(25):
        snapshot = player.at(1000 + second * 10, T0_NS + second * 10**9)
        steps = tuple(replace(s, steps=(1000 + second * 10) // 60) for s in snapshot.steps if s.phase == "training")
        frame = history.add(response_of(replace(snapshot, steps=steps), float(second)))
        train = workload_of(frame, "train")
        if train.j_per_step is not None:
            assert train.j_per_step == pytest.approx(POWER_W * 6 * 6)
    assert train.j_per_step is not None
    frame = play(player)
    assert workload_of(frame, "train").j_per_step == pytest.approx(POWER_W * 6 * STEP_S / TRAIN_STEPS)
    assert workload_of(frame, "chat").j_per_step is None


def test_facts_of_a_gpu_come_from_its_series() -> None:
    gpu = play(Player()).gpus[0]
    assert (gpu.name, gpu.driver, gpu.ecc_uncorrected, gpu.pcie_lanes) == ("NVIDIA H100 80GB HBM3", "570.00", 1, 8)
    assert [(m.uuid, m.profile, m.gpu_instance, m.compute_instance) for m in gpu.mig] == [("MIG-1", "1g.10gb", "1", "0")]
    assert dict(workload_of(play(Player()), "train").labels)["namespace"] == "research"


def test_graphs_have_a_value_per_response_and_a_gap_while_a_gpu_is_lost() -> None:
    history = MetricsHistory()
    for second, lost in enumerate([set[int](), {0}, {0}, set[int]()]):
        frame = history.add(response_at(Player(gpus=3, lost=lost), 1000 + 10 * second))
    assert frame.gpus[0].power_history_w == (POWER_W, None, None, POWER_W)
    assert frame.node.power_history_w == (3 * POWER_W, 2 * POWER_W, 2 * POWER_W, 3 * POWER_W)


def test_a_gpu_that_is_not_steered_by_design_has_the_reason_and_is_no_source_that_is_down() -> None:
    snapshot = Player().at(1000)
    exempt = DvfsDevice(uuid(7), "observe", lease_active=False, exempt=("job", "GPU 7 is in MIG mode"))
    frame = MetricsHistory().add(response_of(replace(snapshot, dvfs=(*snapshot.dvfs, exempt)), 100.0))
    assert frame.gpus[7].steering == "not steered: GPU 7 is in MIG mode"
    assert frame.node.down == MetricsHistory().add(response_of(snapshot, 100.0)).node.down
