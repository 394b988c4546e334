"""Short traces in the form of the public ones."""

from pathlib import Path

import pytest

from benchmarks.vllm_plant.traces import FILES


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name, file in FILES.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        tokens = [(300 + 31 * i % 500, 5 + i % 30) for i in range(60)]
        if name == "conv":
            lines = [f"2023-11-16 18:{15 + i // 60}:{i % 60:02d}.5000000,{a},{b}" for i, (a, b) in enumerate(tokens)]
            path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines]))
        else:
            lines = [f"{3000 * (i // 3)},{a},{b},1" for i, (a, b) in enumerate(tokens)]
            path.write_text("\n".join(["timestamp_ms,input_length,output_length,n_hash_blocks", *lines]))
    return folder
