"""Energy of a run for experiment trackers, by hand-made statuses; tests/peers has real W&B and MLflow."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import wattlens
from energy_agent.core.errors import UsageError
from energy_agent.sdk.training.energy_log import EnergyLog, energy_values
from energy_agent.sdk.training.progress import Status, run_attributes
from wattlens.hooks.mlflow import MlflowEnergyLog
from wattlens.model_cards import model_card

DONE = Status(
    "nvml", 7_200_000.0, 500.0, 120, 4000, 1.5, "", "", 6_840_000.0, 7_920_000.0, 14_400.0, 100, 3600, "GPU 0", 1
)  # fmt: skip
NONE = Status("", None, None, 120, 4000, None, "", "no agent responds")


class Tracker:
    def __init__(self) -> None:
        self.rows: list[tuple[dict[str, float], int]] = []
        self.notes: dict[str, str] = {}
        self.flushed = 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.rows.append((dict(values), step))

    def note(self, name: str, text: str) -> None:
        self.notes[name] = text

    def flush(self) -> None:
        self.flushed += 1


def run_of(status: Status) -> Any:
    return SimpleNamespace(status=lambda wait=True: status)


def test_values_are_those_of_the_status_with_bounds() -> None:
    assert energy_values(DONE, 400.0) == pytest.approx({
        "energy_joules": 7_200_000.0,
        "energy_joules_lower": 6_840_000.0,
        "energy_joules_upper": 7_920_000.0,
        "power_watts": 500.0,
        "joules_per_step": 72_000.0,
        "joules_per_step_lower": 68_400.0,
        "joules_per_step_upper": 79_200.0,
        "joules_per_token": 2_000.0,
        "joules_per_token_lower": 1_900.0,
        "joules_per_token_upper": 2_200.0,
        "co2e_grams": 800.0,
    })  # fmt: skip
    assert energy_values(NONE) == {}
    assert set(energy_values(replace(DONE, low=None, high=None, measured_tokens=0))) == {
        "energy_joules", "power_watts", "joules_per_step",
    }  # fmt: skip


def test_a_log_has_the_steps_of_the_loop() -> None:
    tracker = Tracker()
    log = EnergyLog(tracker, run_of(DONE), every_s=0.0, carbon_g_per_kwh=400, carbon_basis="DE 2024, direct")
    log.step()
    log.step(50)
    log.step()
    log.finish()
    assert [step for _, step in tracker.rows] == [1, 50, 51, 51]
    assert tracker.rows[0][0]["wattlens/energy_joules"] == 7_200_000.0
    assert tracker.notes == {"wattlens/carbon_basis": "400 gCO2e/kWh: DE 2024, direct"}
    assert tracker.flushed == 1


def test_between_two_values_nothing_is_logged() -> None:
    tracker = Tracker()
    log = EnergyLog(tracker, run_of(DONE), every_s=3600.0)
    for _ in range(100):
        log.step()
    assert not tracker.rows
    log.finish()
    assert [step for _, step in tracker.rows] == [100]


def test_without_energy_the_reason_is_noted() -> None:
    tracker = Tracker()
    log = EnergyLog(tracker, run_of(NONE), every_s=0.0)
    log.step()
    assert tracker.notes == {"wattlens/absent_reason": "no agent responds"}
    assert not tracker.rows


def test_a_failing_tracker_does_not_reach_the_loop() -> None:
    tracker = Tracker()
    tracker.log = lambda values, step: 1 / 0  # type: ignore[assignment, method-assign]
    log = EnergyLog(tracker, run_of(DONE), every_s=0.0)
    log.step()
    log.finish()


def test_an_intensity_needs_its_basis() -> None:
    with pytest.raises(UsageError, match="carbon_basis"):
        EnergyLog(Tracker(), run_of(DONE), carbon_g_per_kwh=400)
    with pytest.raises(UsageError, match="carbon_basis"):
        model_card(DONE, carbon_g_per_kwh=400)
    with pytest.raises(UsageError, match="gpus"):
        model_card(DONE, gpus=-1)


def test_model_card_has_energy_hours_and_co2e() -> None:
    card = wattlens.model_card(
        DONE, hardware="H100-SXM5-80GB", gpus=8, region="Germany", cloud_provider="own", training_type="fine-tuning",
        carbon_g_per_kwh=400, carbon_basis="DE 2024, direct",
    )  # fmt: skip
    assert str(card).startswith("## Environmental Impact\n\n- **Hardware Type:** 8 x H100-SXM5-80GB\n")
    for line in (
        "- **Hours used:** 4 (32 GPU hours)",
        "- **Compute Region:** Germany",
        "- **Energy:** 2 kWh (1.9 to 2.2), for 100 of 120 steps",
        "- **Carbon Emitted:** 0.8 kg CO2e (400 g/kWh; DE 2024, direct)",
    ):
        assert line in str(card).splitlines()
    assert card.metadata["co2_eq_emissions"]["emissions"] == 800.0
    assert card.front_matter() == (
        'co2_eq_emissions:\n  emissions: 800.0\n  source: "Wattlens, GPU energy from NVML; DE 2024, direct"\n'
        '  training_type: "fine-tuning"\n  geographical_location: "Germany"\n  hardware_used: "8 x H100-SXM5-80GB"\n'
    )


def test_model_card_without_energy_or_intensity_has_the_reason_and_no_metadata() -> None:
    card = model_card(NONE)
    assert "- **Energy:** not available: no agent responds" in card.text
    assert card.metadata == {}
    assert "no carbon intensity is stated" in model_card(DONE).text
    assert "SIMULATED" not in model_card(DONE).text
    simulated = model_card(replace(DONE, simulated=True), carbon_g_per_kwh=1, carbon_basis="x")
    assert "SIMULATED, not measured" in simulated.text
    assert str(simulated.metadata["co2_eq_emissions"]["source"]).startswith("SIMULATED")


def test_attributes_of_a_runs_span() -> None:
    assert run_attributes(NONE) == {
        "wattlens.steps": 120, "wattlens.tokens": 4000, "wattlens.energy.absent_reason": "no agent responds",
    }  # fmt: skip
    attributes = run_attributes(DONE)
    assert attributes["wattlens.energy.joules"] == 7_200_000.0
    assert attributes["wattlens.gpus"] == "GPU 0"
    assert attributes["wattlens.energy.steps"] == 100


def test_mlflow_waits_for_every_value_although_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []

    class Operation:
        def __init__(self, name: str) -> None:
            self._name = name

        def wait(self) -> None:
            waited.append(self._name)
            if self._name == "metrics":
                raise OSError("the server refuses it")

    client = SimpleNamespace(
        log_batch=lambda run_id, metrics, synchronous: Operation("metrics"),
        set_tag=lambda run_id, name, text, synchronous: Operation(name),
    )
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=lambda: client))
    monkeypatch.setitem(sys.modules, "mlflow.entities", SimpleNamespace(Metric=lambda *fields: fields))
    log = MlflowEnergyLog("run-1", run=run_of(DONE), every_s=3600.0, carbon_g_per_kwh=400, carbon_basis="DE 2024, direct")
    log.finish()
    assert waited == ["metrics", "wattlens/carbon_basis"]
