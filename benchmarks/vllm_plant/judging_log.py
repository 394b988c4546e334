"""Log of judging runs: seed, totals and a hash of each policy's source. A policy is not judged on cells it was changed for."""

import ast
import hashlib
import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from benchmarks.runner import Row
from benchmarks.vllm_plant.policy import PACKAGES
from energy_agent.core.errors import UsageError

_ROOT = Path(__file__).parents[2]
_PREFIXES = tuple(f"{package.__name__}." for package in PACKAGES)


def source_hash(policy: str) -> str:
    """SHA-256 over a policy's files and those of policies and baselines that they import, each after its name."""
    digest = hashlib.sha256()
    for path in policy_files(policy):
        digest.update(f"{path.relative_to(_ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def policy_files(policy: str) -> list[Path]:
    """The files, in order of their names.

    Raises:
        UsageError: no such policy.
    """
    waiting, files = deque(file for prefix in _PREFIXES for file in _files_of(prefix + policy)), set[Path]()
    if not waiting:
        raise UsageError(f"--policy: {policy}: no such policy")
    while waiting:
        path = waiting.popleft()
        if path not in files:
            files.add(path)
            waiting += [file for name in _imported(path) for file in _files_of(name)]
    return sorted(files)


def _files_of(dotted: str) -> list[Path]:
    """Files of a module or package; none where there is no such module."""
    path = _ROOT.joinpath(*dotted.split("."))
    if path.is_dir():
        return sorted(path.glob("**/*.py"))
    return [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else []


def _imported(path: Path) -> list[str]:
    """Names of policies and baselines that a file imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.startswith(_PREFIXES)]


def refuse_seen(log: Path, seed: int, hashes: Mapping[str, str]) -> None:
    """Check that no policy has changed since this seed judged it.

    Raises:
        UsageError: one has, or the log is not one of ours.
    """
    if not log.is_file():
        return
    for number, line in enumerate(log.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            name, old = str(row["policy"]), str(row["sha256"])
            is_same_seed = int(row["seed"]) == seed
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"--log: {log}, line {number}: expected an entry of a judging run: {error}") from error
        if is_same_seed and hashes.get(name, old) != old:
            raise UsageError(
                f"--seed {seed}: {name} was judged on these cells with another source ({old[:12]}, now "
                f"{hashes[name][:12]}; {log}, line {number}): a policy that changed needs a new seed"
            )


class JudgingLog:
    """The file of rows with the hash of each policy's source; refuses seeds that another source was judged on."""

    def __init__(self, path: Path, seeds: tuple[int, ...], policies: tuple[str, ...]) -> None:
        self._path, self._hashes = path, {name: source_hash(name) for name in policies}
        for seed in seeds:
            refuse_seen(path, seed, self._hashes)
        for seed in seeds:  # before the run: an interrupted one has shown its cells as well
            for name in policies:
                self.append(seed, {"policy": name, "started": True})

    def append(self, seed: int, row: Row) -> None:
        """Add a row."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seed": seed, "sha256": self._hashes[row["policy"]], **row}) + "\n")
