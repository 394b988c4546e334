"""The language models that a modelled server can hold: sizes from the model cards, and what of a step the host takes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvfs.replay.serving.boards import BASES
from energy_agent.core.errors import UsageError

TABLE = Path(__file__).with_name("models.json")
ENGINES = ("vllm-2024", "lean")
"""vllm-2024: the host takes its part of each step, as fitted to the leaderboard v2. lean: it takes none, as in engines that
schedule the next step while this one runs."""


@dataclass(frozen=True, slots=True)
class Host:
    """Time of a step in which no kernel runs: `step_s`, and `sequence_s` for each sequence in the batch."""

    board: str
    step_s: float
    sequence_s: float
    basis: str


@dataclass(frozen=True, slots=True)
class Model:
    """One model in 16 bit.

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
    host: tuple[Host, ...]
    bases: tuple[tuple[str, str], ...] = ()

    def gpus(self, board: str) -> int:
        """Boards of one replica."""
        return self.tensor_parallel.get(board, self.tensor_parallel.get("*", 1))

    def host_of(self, board: str, engine: str) -> Host:
        """The host's part of a step on this board.

        Raises:
            UsageError: an engine that there is not.
        """
        if engine not in ENGINES:
            raise UsageError(f"no engine {engine!r}; there are: {', '.join(ENGINES)}")
        if engine == "lean" or not self.host:
            return Host(board, 0.0, 0.0, "assumed")
        return next((h for h in self.host if h.board == board), self.host[-1])


def find(key: str) -> Model:
    """The model that `--model` calls `key`: a name of models.json, or the path of a file of the same form with one model.

    Raises:
        UsageError: there is none, or the file is wrong; names those that there are, or file and value.
    """
    if key.endswith(".json"):
        models = load(Path(key))
        if len(models) != 1:
            raise UsageError(f"{key}: must hold one model, has {len(models)}")
        return next(iter(models.values()))
    models = load()
    if key not in models:
        raise UsageError(f"no model {key!r}; there are: {', '.join(models)}; or give a file like {TABLE.name}")
    return models[key]


def load(path: Path = TABLE) -> dict[str, Model]:
    """The models of a table.

    Raises:
        UsageError: the file cannot be read or a row is wrong; names file, model and value.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["models"]
        items = list(rows.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path}: cannot read the models: {error!r}") from error
    return {key: _model(key, row, f"{path}: model {key!r}") for key, row in items}


def _model(key: str, row: Any, where: str) -> Model:
    try:
        host = tuple(
            Host(str(h["board"]), _within(h["step_s"], 0, 10), _within(h["sequence_s"], 0, 1), _basis(h["basis"]))
            for h in row["host"]
        )
        parallel = {str(board): int(_within(n, 1, 64)) for board, n in row["tensor_parallel"].items()}
        return Model(
            key,
            str(row["name"]),
            _within(row["parameters_b"][0], 0.01, 1e5),
            int(_within(row["kv_b_per_token"][0], 1, 1e9)),
            int(_within(row["layers"][0], 1, 1e5)),
            int(_within(row["width"][0], 1, 1e7)),
            parallel,
            host,
            tuple((name, _basis(row[name][1])) for name in _SIZES),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UsageError(f"{where}: {error!r}; rows look like those of {TABLE}") from error


_SIZES = ("parameters_b", "kv_b_per_token", "layers", "width")


def _basis(word: Any) -> str:
    if word not in BASES:
        raise ValueError(f"a basis is one of {', '.join(BASES)}, not {word!r}")
    return str(word)


def _within(number: Any, low: float, high: float) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise ValueError(f"{number!r} is no number from {low:g} to {high:g}")
    return float(number)
