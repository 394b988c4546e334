"""One engine of engine.c, built by the C compiler on first use into the user's cache."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import get_type_hints

import numpy as np
import numpy.typing as npt

from energy_agent.core.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

_SOURCE = Path(__file__).with_name("engine.c")
# Without contraction, every processor gives the same results.
_FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
_TTFT_BUCKETS, _ITL_BUCKETS = 22, 19
BLOCK_TOKENS = 16
"""Tokens of a KV block, vLLM's default; as in engine.c."""


class EngineParams(ctypes.Structure):
    """Parameters of an engine, in the order of engine.c. Everything is of the whole group of GPUs."""

    active_params: float  # parameters that compute one token
    dense_params: float  # parameters that every step reads
    expert_params: float  # parameters of all experts
    expert_share: float  # share of the experts that one token uses
    weight_bytes: float  # bytes per parameter
    kv_bytes_per_token: float  # bytes of the KV cache per token
    layers: float  # number of layers
    attention_width: float  # heads times head size
    flop_per_s: float  # compute rate that kernels reach at the top clock
    bytes_per_s: float  # memory bandwidth that they reach
    top_mhz: float  # highest SM clock
    memory_knee_mhz: float  # clock below which the bandwidth falls in proportion
    voltage_knee_mhz: float  # clock below which the voltage is constant
    lowest_voltage_ratio: float  # that voltage relative to the one at the top clock
    idle_w: float  # power of an idle GPU
    clock_w: float  # power of the clock tree at the top clock
    memory_w: float  # power of the memory at full bandwidth
    compute_w: float  # power of the SMs at full compute rate and top clock
    limit_w: float  # power limit
    limiter_waste_ratio: float  # additional time of a step that the limiter slows down
    overlap_norm: float  # p of the p-norm of compute and memory time; 1 is the sum, infinity the maximum
    launch_s: float  # launch overhead of a step at the top clock; it scales with the clock
    all_reduce_s: float  # latency of all all-reduce operations of a step
    all_reduce_bytes_per_token: float  # bytes that they transfer
    link_bytes_per_s: float  # bandwidth between the GPUs
    cpu_step_s: float  # CPU time per step
    cpu_prompt_s: float  # additional CPU time of a step with a prompt, which no CUDA graph covers
    cpu_sequence_s: float  # additional CPU time per sequence
    batched_tokens: float  # token budget of a step (max_num_batched_tokens)
    running_limit: float  # maximum batch (max_num_seqs)
    kv_blocks: float  # KV blocks of 16 tokens
    draft_tokens: float  # depth of speculative decoding, 0 for none
    draft_acceptance: float  # probability that a draft is accepted if the one before was
    draft_cost_ratio: float  # cost of the draft model relative to the model
    noise_ratio: float  # standard deviation of the log of step times
    stall_probability: float  # probability per step of a CPU stall
    stall_s: float  # mean length of a stall
    frontend_s: float  # time from the end of a step to the client
    is_decode_pool: float  # 1 if prompts arrive as finished KV cache, else 0


class LatencyHistogram(ctypes.Structure):
    """Latencies: their sum in s, their number, and per upper edge the number of values up to it."""

    sum_s: float
    count: float
    buckets: ctypes.Array[ctypes.c_double]
    _fields_ = (("sum_s", ctypes.c_double), ("count", ctypes.c_double), ("buckets", ctypes.c_double * _TTFT_BUCKETS))


class EngineMetrics(ctypes.Structure):
    """Counters since the start and gauges, in the order of engine.c."""

    time_s: float  # time since the start
    energy_j: float  # energy of all GPUs
    prompt_tokens: float  # computed prompt tokens, without those from the prefix cache
    generated_tokens: float  # output tokens
    requests: float  # finished requests
    steps: float  # engine steps
    running: float  # requests in the batch when the last step ended
    waiting: float  # requests in the queue at that time, without those whose KV cache is in transfer
    draft_tokens: float  # tokens of the draft model
    accepted_tokens: float  # those of them that the model accepted
    preemptions: float  # how often a request lost its KV cache
    power_limited_s: float  # time of steps that the power limiter slowed down
    gpu_busy_s: float  # GPU time of all steps
    ttft: LatencyHistogram  # time to first token
    itl: LatencyHistogram  # gaps between the outputs of a request
    request_itl: LatencyHistogram  # mean time between the tokens of each finished request


for _structure in (EngineParams, EngineMetrics):
    _structure._fields_ = [
        (name, ctypes.c_double if kind is float else kind) for name, kind in get_type_hints(_structure).items()
    ]


@dataclass(frozen=True, slots=True)
class EngineRequests:
    """Requests in order of arrival."""

    arrival_s: Floats  # time of arrival
    prompt: Ints  # prompt tokens
    output: Ints  # output tokens, at least 1
    cached: Ints  # prompt tokens in the prefix cache, fewer than `prompt`
    ready_s: Floats  # time when a decode pool has received the KV cache; other engines ignore it

    def __len__(self) -> int:
        return len(self.arrival_s)


class VllmEngine:
    """An engine and its future requests; a context manager, since C owns the memory."""

    def __init__(self, params: EngineParams, requests: EngineRequests, seed: int) -> None:
        longest = int(np.max(requests.prompt + requests.output)) + int(params.draft_tokens)
        if longest > BLOCK_TOKENS * params.kv_blocks:
            raise ValueError(
                f"a request of {longest} tokens does not fit the KV cache of {BLOCK_TOKENS * params.kv_blocks:.0f}"
            )
        self._library = _load_library()
        self._count = len(requests)
        self._handle = self._library.engine_new(
            ctypes.byref(params),
            self._count,
            *(np.ascontiguousarray(times, np.float64) for times in (requests.arrival_s, requests.ready_s)),
            *(np.ascontiguousarray(tokens, np.int32) for tokens in (requests.prompt, requests.output, requests.cached)),
            seed,
        )

    def __enter__(self) -> "VllmEngine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._library.engine_free(self._handle)

    def advance(self, until_s: float, mhz: float) -> None:
        """Run until a time; steps that start before it use this clock."""
        self._library.engine_advance(self._handle, until_s, mhz)

    @property
    def metrics(self) -> EngineMetrics:
        """A copy of the present metrics."""
        return EngineMetrics.from_buffer_copy(self._library.engine_metrics(self._handle).contents)

    def token_times_s(self) -> tuple[Floats, Floats]:
        """Times of the first and of the last token of each request."""
        first_s, last_s = np.zeros(self._count), np.zeros(self._count)
        self._library.engine_token_times(self._handle, first_s, last_s)
        return first_s, last_s


def idle_power_w(params: EngineParams) -> float:
    """Power between requests at the top clock."""
    share = ctypes.c_double.in_dll(_load_library(), "IDLE_CLOCK_SHARE").value
    return float(params.idle_w + share * params.clock_w)


@cache
def bucket_edges() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Upper edges in s of the histograms of time to first token and time between tokens."""
    library = _load_library()
    ttft = (ctypes.c_double * _TTFT_BUCKETS).in_dll(library, "TTFT_EDGES")
    itl = (ctypes.c_double * _ITL_BUCKETS).in_dll(library, "ITL_EDGES")
    return tuple(ttft), tuple(itl)


@cache
def _load_library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(build_library()))
    floats, ints = np.ctypeslib.ndpointer(np.float64), np.ctypeslib.ndpointer(np.int32)
    params, engine = ctypes.POINTER(EngineParams), ctypes.c_void_p
    library.engine_new.restype = engine
    library.engine_new.argtypes = [params, ctypes.c_int, floats, floats, ints, ints, ints, ctypes.c_uint64]
    library.engine_advance.argtypes = [engine, ctypes.c_double, ctypes.c_double]
    library.engine_metrics.restype = ctypes.POINTER(EngineMetrics)
    library.engine_metrics.argtypes = [engine]
    library.engine_token_times.argtypes = [engine, floats, floats]
    library.engine_free.argtypes = [engine]
    return library


def build_library() -> Path:
    """Build engine.c, unless the cache has this version of it.

    Raises:
        UsageError: no C compiler, or it failed.
    """
    digest = hashlib.sha256(" ".join(_FLAGS).encode() + _SOURCE.read_bytes()).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "wattlens"
    library = folder / f"vllm-plant-{digest}.so"
    if library.exists():
        return library
    compiler = shutil.which("cc")
    if compiler is None:
        raise UsageError(
            "engine.c requires a C compiler, but cc was not found: install gcc (Debian: apt install gcc libc6-dev)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        built = Path(name) / library.name
        command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(built), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise UsageError(f"{compiler} could not build engine.c: {result.stderr.strip()}")
        built.replace(library)  # atomic: two processes may build at once
    return library
