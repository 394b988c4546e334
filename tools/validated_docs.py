"""Table of docs/validated-on.md, from the result files that `wattlens doctor --acceptance` wrote.

It checks each result file in docs/acceptance first: fields, spelling, signature, and that its verdict follows from its figures.
"""

from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError
from wattlens.doctor.acceptance.result import AcceptanceResult, GpuResult
from wattlens.doctor.acceptance.result_file import ResultFile, read

FOLDER: Final = Path(__file__).parents[1] / "docs/acceptance"
SUFFIX: Final = ".jsonl"
FILES_MAX: Final = 1_000
LEAST_S: Final = 600.0
_NONE: Final = "\nNo result from a real GPU has been contributed yet.\n\n"
_HEAD: Final = (
    "\n| GPU | driver | Wattlens | day | agent and counter, worst GPU | intervals | J/token, agent and engine | CPU, memory | "
    "result |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def table(folder: Path = FOLDER) -> str:
    """A row per result file, or the statement that no result exists.

    Raises:
        UsageError: a file is not a result that the table may show.
    """
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if len(paths) > FILES_MAX:
        raise UsageError(f"{folder}: more than {FILES_MAX} result files")
    rows: list[str] = []
    first_paths: dict[bytes, Path] = {}
    for path in paths:
        file = read_for_table(path)
        first = first_paths.setdefault(path.read_bytes(), path)
        if first != path:
            raise UsageError(f"{path}: the same result as {first}")
        rows.append(_row(path.name, file))
    return _HEAD + "".join(rows) + "\n" if rows else _NONE


def read_for_table(path: Path) -> ResultFile:
    """A result that the table may show. Raises UsageError: not valid, of simulated GPUs, too short, or not accepted."""
    name = path.name.removesuffix(SUFFIX)
    if not name.isascii() or not name.replace("-", "").replace(".", "").isalnum() or len(name) > 80:
        raise UsageError(f"{path}: expected a name of at most 80 letters, digits, '-' and '.'")
    file = read(path)
    if file.result.simulated:
        raise UsageError(f"{path}: a result of simulated GPUs validates nothing")
    if file.result.seconds < LEAST_S:
        raise UsageError(f"{path}: expected a comparison of at least {LEAST_S:g} s, got {file.result.seconds:g} s")
    if not file.result.accepted:
        failed = [criterion.name for criterion in file.result.criteria if criterion.passed is False]
        raise UsageError(f"{path}: not accepted: {', '.join(failed)}")
    return file


def _row(name: str, file: ResultFile) -> str:
    result = file.result
    worst = max(result.gpus, key=lambda gpu: abs(_ratio(gpu)))
    models = ", ".join(f"{sum(g.model == m for g in result.gpus)} x {m}" for m in sorted({g.model for g in result.gpus}))
    covered, intervals = sum(gpu.covered for gpu in result.gpus), sum(gpu.intervals for gpu in result.gpus)
    agent = result.agent
    cells = (
        models,
        result.driver,
        agent.version,
        result.day,
        f"{worst.difference_j or 0.0:+.1f} J ({_ratio(worst):+.3%}) in {result.seconds / 60:.0f} min",
        f"{covered} of {intervals}",
        _tokens(result),
        f"{agent.cpu_ratio:.1%} of a core, {agent.memory_b / (1 << 20):.0f} MiB",
        f"[{result.label or 'file'}]({FOLDER.name}/{name}), " + (f"key `{result.key[:16]}`" if file.is_signed else "unsigned"),
    )
    return f"| {' | '.join(cells)} |\n"


def _ratio(gpu: GpuResult) -> float:
    return (gpu.difference_j or 0.0) / gpu.counter_j.value if gpu.counter_j.value else 0.0


def _tokens(result: AcceptanceResult) -> str:
    texts = [
        f"{engine.server}: {engine.agent.value:.4f}, {engine.engine.value:.4f}"
        for engine in result.engines
        if engine.agent.value is not None and engine.engine.value is not None
    ]
    return "; ".join(texts) or "not measured"
