"""Section "Environmental Impact" of a model card, with its metadata `co2_eq_emissions`, from a training run.

Form: Hugging Face's template of model cards, and its page "Displaying carbon emissions for your model".
"""

import json
from dataclasses import dataclass

from energy_agent.core.errors import UsageError
from energy_agent.core.units import J_PER_KWH
from energy_agent.sdk.stated_carbon import check_carbon
from energy_agent.sdk.training.progress import AGENT, Status
from energy_agent.sdk.training.step_counter import training

_S_PER_H = 3600
_SOURCE = "Wattlens, GPU energy from NVML"


@dataclass(frozen=True, slots=True)
class ModelCardSection:
    """What a model card has about energy.

    Args:
        text: Markdown, a section of its own.
        metadata: of the YAML block at the card's begin; empty without a carbon intensity or energy.
    """

    text: str
    metadata: dict[str, dict[str, str | float]]

    def front_matter(self) -> str:
        """The metadata as lines of YAML."""
        lines = [
            f"{key}:\n" + "".join(f"  {name}: {json.dumps(value)}\n" for name, value in fields.items())
            for key, fields in self.metadata.items()
        ]
        return "".join(lines)

    def __str__(self) -> str:
        return self.text


def model_card(
    run: training | Status,
    *,
    hardware: str = "",
    gpus: int = 0,
    region: str = "",
    cloud_provider: str = "",
    training_type: str = "",
    carbon_g_per_kwh: float | None = None,
    carbon_basis: str = "",
) -> ModelCardSection:
    """The section for a run.

    Args:
        run: `wattlens.training(...)`, or its status.
        hardware: the GPUs' model.
        gpus: how many GPUs trained; for GPU hours.
        region: where they are.
        cloud_provider: whose they are.
        training_type: "pre-training" or "fine-tuning".
        carbon_g_per_kwh: carbon intensity of the electricity; without it there is no CO2e.
        carbon_basis: its source, year and what emissions it includes; required with it.

    Raises:
        UsageError: a carbon intensity without its basis, or a negative number of GPUs.

    >>> status = Status("nvml", 7.2e6, None, 100, 409_600, None, "", "", gpus="all 8 GPUs")
    >>> section = model_card(status, carbon_g_per_kwh=40.0, carbon_basis="Ember 2024, location-based")
    >>> section.metadata["co2_eq_emissions"]["emissions"]
    80.0
    """
    check_carbon(carbon_g_per_kwh, carbon_basis)
    if gpus < 0:
        raise UsageError(f"gpus: expected a number of at least 0, got {gpus}")
    progress = run if isinstance(run, Status) else run.status()
    device = " x ".join(part for part in (str(gpus) if gpus else "", hardware) if part) or progress.gpus
    rows = [("Hardware Type", device), ("Hours used", _hours(progress, gpus)), ("Cloud Provider", cloud_provider)]
    rows += [("Compute Region", region), ("Energy", _energy(progress))]
    metadata: dict[str, dict[str, str | float]] = {}
    if progress.joules is None or carbon_g_per_kwh is None:
        rows.append(
            ("Carbon Emitted", "not available" + ("" if progress.joules is None else ": no carbon intensity is stated"))
        )
    else:
        grams = progress.joules / J_PER_KWH * carbon_g_per_kwh
        rows.append(("Carbon Emitted", f"{grams / 1000:.4g} kg CO2e ({carbon_g_per_kwh:g} g/kWh; {carbon_basis})"))
        fields: dict[str, str | float] = {
            "emissions": float(f"{grams:.6g}"),
            "source": f"{'SIMULATED, ' if progress.simulated else ''}{_SOURCE}; {carbon_basis}",
            "training_type": training_type,
            "geographical_location": region,
            "hardware_used": device,
        }
        metadata["co2_eq_emissions"] = {name: value for name, value in fields.items() if value != ""}
    rows.append(("Method", _method(progress)))
    lines = "\n".join(f"- **{name}:** {value or 'not stated'}" for name, value in rows)
    return ModelCardSection(f"## Environmental Impact\n\n{lines}\n", metadata)


def _hours(progress: Status, gpus: int) -> str:
    if progress.seconds is None:
        return "not available"
    hours = progress.seconds / _S_PER_H
    return f"{hours:.4g}" + (f" ({hours * gpus:.4g} GPU hours)" if gpus else "")


def _energy(progress: Status) -> str:
    if progress.joules is None:
        return f"not available: {progress.reason}"
    text = f"{progress.joules / J_PER_KWH:.4g} kWh"
    if progress.low is not None and progress.high is not None:
        text += f" ({progress.low / J_PER_KWH:.4g} to {progress.high / J_PER_KWH:.4g})"
    measured = progress.measured_steps
    if measured is not None and measured < progress.steps:
        text += f", for {measured:,} of {progress.steps:,} steps"
    return text


def _method(progress: Status) -> str:
    scope = "all processes of the run on this node" if progress.source == AGENT else "the GPUs visible to this process"
    measured = "SIMULATED, not measured" if progress.simulated else "measured through NVML by Wattlens"
    return f"GPU energy of {scope}, {measured}; CPU, memory, network, cooling and other nodes are not included"
