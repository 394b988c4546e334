"""Language models for simulated servers: sizes from the model cards, and the host's share of a step."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files import json_file

TABLE = Path(__file__).with_name("models.json")
ENGINES = ("vllm-2024", "lean")
"""vllm-2024: the host takes its part of each step, as fitted to the leaderboard v2. lean: it takes none, as in engines that
schedule the next step while this one runs."""

Basis = Literal["measured", "fitted", "assumed"]


@dataclass(frozen=True, slots=True)
class HostStepTime:
    """Step time without a running kernel: `step_s`, plus `sequence_s` per sequence in the batch."""

    board: str
    step_s: Annotated[float, Field(ge=0, le=10)]
    sequence_s: Annotated[float, Field(ge=0, le=1)]
    basis: Basis


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A language model in 16-bit precision.

    Args:
        parameters_b: in 1e9.
        kv_b_per_token: keys and values of all layers.
        layers, width: for the work of attention, 4 * layers * width FLOP for each pair of a token and one before it.
        tensor_parallel: boards that hold one replica, by board; "*" is any other.
        host: the host's part of a step, by board.
        bases: (value, measured | fitted | assumed) of each size; measured: as the model card has it.
    """

    key: str
    name: str
    parameters_b: float
    kv_b_per_token: int
    layers: int
    width: int
    tensor_parallel: Mapping[str, int]
    host: tuple[HostStepTime, ...]
    bases: tuple[tuple[str, str], ...] = ()

    def gpus(self, gpu: str) -> int:
        """Boards of one replica."""
        return self.tensor_parallel.get(gpu, self.tensor_parallel.get("*", 1))

    def host_of(self, gpu: str, engine: str) -> HostStepTime:
        """The host's part of a step on this board.

        Raises:
            UsageError: an engine that there is not.
        """
        if engine not in ENGINES:
            raise UsageError(f"--engine: expected one of {', '.join(ENGINES)}, got {engine!r}")
        if engine == "lean" or not self.host:
            return HostStepTime(gpu, 0.0, 0.0, "assumed")
        return next((h for h in self.host if h.board == gpu), self.host[-1])


def find(key: str) -> ServedModel:
    """The model with the `--model` name `key`: a name of models.json, or the path of a file of the same form with one model.

    Raises:
        UsageError: unknown name (lists the known ones) or invalid file (names file and value).
    """
    if key.endswith(".json"):
        models = load(Path(key))
        if len(models) != 1:
            raise UsageError(f"{key}: expected one model, got {len(models)}")
        return next(iter(models.values()))
    models = load()
    if key not in models:
        raise UsageError(f"--model: expected one of {', '.join(models)} or a file like {TABLE.name}, got {key!r}")
    return models[key]


def load(path: Path = TABLE) -> dict[str, ServedModel]:
    """The models of a table.

    Raises:
        UsageError: the file cannot be read or a row is wrong; names file, model and value.
    """
    return {key: row.model(key) for key, row in json_file.load(TypeAdapter(_File), path).models.items()}


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Row(_Part):
    """A model as a file has it: each size with its basis."""

    name: str
    parameters_b: tuple[Annotated[float, Field(ge=0.01, le=1e5)], Basis]
    kv_b_per_token: tuple[Annotated[int, Field(ge=1, le=10**9)], Basis]
    layers: tuple[Annotated[int, Field(ge=1, le=10**5)], Basis]
    width: tuple[Annotated[int, Field(ge=1, le=10**7)], Basis]
    tensor_parallel: dict[str, Annotated[int, Field(ge=1, le=64)]]
    host: tuple[HostStepTime, ...]

    def model(self, key: str) -> ServedModel:
        """The model that `--model` calls `key`."""
        sizes = {name: getattr(self, name) for name in ("parameters_b", "kv_b_per_token", "layers", "width")}
        values = {name: value for name, (value, _) in sizes.items()}
        bases = tuple((name, basis) for name, (_, basis) in sizes.items())
        return ServedModel(key, self.name, **values, tensor_parallel=self.tensor_parallel, host=self.host, bases=bases)


class _File(_Part):
    models: dict[str, _Row]
