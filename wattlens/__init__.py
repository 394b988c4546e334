"""Measure the energy of GPU programs, and count what training runs did with it.

    from wattlens import measure, step

measure    energy of a block or function, with its error
step       count one training step and its tokens
phase      name a phase of a training run
training   what the run of this process used so far
steered    let a distributed training job be steered as one
request_energy  share of one request in the energy of its engine
model_card  section of a model card about a training run
compare    whether two sets of measured runs differ
energy     energy, tokens, cost and CO2e by workload, team, GPU, ... as a pandas DataFrame
job_energy  energy, J/step and J/token of jobs as a pandas DataFrame
hooks      hooks of PyTorch, Hugging Face's Trainer and Lightning, of W&B and MLflow, of LiteLLM

The command line is `wattlens --help`; the documentation is in docs/.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_agent.sdk.measure.measurement import measure
    from energy_agent.sdk.request_energy import request_energy
    from energy_agent.sdk.steering.steered import steered
    from energy_agent.sdk.training.step_counter import phase, step, training
    from wattlens import hooks
    from wattlens.comparison.statistics import compare
    from wattlens.frames import energy, job_energy
    from wattlens.model_cards import model_card

__version__ = "0.2.0"
__all__ = [
    "__version__", "compare", "energy", "hooks", "job_energy", "measure", "model_card", "phase", "request_energy", "steered",
    "step", "training",
]  # fmt: skip

_HOMES = {
    "compare": "wattlens.comparison.statistics",
    "energy": "wattlens.frames",
    "job_energy": "wattlens.frames",
    "measure": "energy_agent.sdk.measure.measurement",
    "model_card": "wattlens.model_cards",
    "phase": "energy_agent.sdk.training.step_counter",
    "request_energy": "energy_agent.sdk.request_energy",
    "steered": "energy_agent.sdk.steering.steered",
    "step": "energy_agent.sdk.training.step_counter",
    "training": "energy_agent.sdk.training.step_counter",
}


def __getattr__(name: str) -> Any:
    """A public name, loaded when it is used: importing Wattlens costs nothing."""
    if name == "hooks":
        return import_module("wattlens.hooks")
    if name in _HOMES:
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module 'wattlens' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for completion and `help`."""
    return __all__
