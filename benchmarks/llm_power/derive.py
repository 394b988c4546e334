"""Derive benchmarks/data/aiconfigurator/gemm_power.csv: `python -m benchmarks.llm_power.derive FOLDER > FILE`.

FOLDER holds aiconfigurator's tables of operators (SOURCE.md next to the result). GEMMs in bfloat16 with at least 1e8 weights
remain: they last 50 us and longer. Power in the tables is a 1 s average over runs of 0.3 to 1 s, so most readings are below the
true power; the upper quartile over the operators of one size is the estimate. Needs duckdb (extra `reports`).
"""

import sys
from pathlib import Path

GPUS = {"h200": "h200_sxm", "b200": "b200_sxm", "gb200": "gb200"}
DECODE = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PREFILL = (512, 1024, 2048, 4096, 8192, 16384, 32768)
WEIGHTS_MIN = 100_000_000
QUERY = """
    select m, count(*), quantile_cont(power, 0.25), quantile_cont(power, 0.5), quantile_cont(power, 0.75), max(power_limit)
    from read_parquet(?) where gemm_dtype = 'bfloat16' and n * k >= ? group by m order by m
"""
HEAD = "gpu,phase,tokens,operators,power_p25_w,power_p50_w,power_p75_w,power_limit_w"


def main(folder: Path) -> None:
    """Print the table."""
    import duckdb

    print(HEAD)
    for gpu, name in GPUS.items():
        path = folder / f"{name}-vllm-0.22.0-gemm_perf.parquet"
        for tokens, count, low, middle, high, limit in duckdb.execute(QUERY, [str(path), WEIGHTS_MIN]).fetchall():
            phase = "decode" if tokens in DECODE else "prefill" if tokens in PREFILL else None
            if phase is not None:
                print(f"{gpu},{phase},{tokens},{count},{low:.1f},{middle:.1f},{high:.1f},{limit:.0f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
