"""A server as the engine needs it: times of the parts of a step, limits of a batch, and what a clock lock changes. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rates:
    """Everything that a clock lock decides. Lists go by batch; times are factors on those at the highest clock.

    Args:
        lock_mhz: the lock.
        decode_stretch, prefill_stretch: how much longer the parts take.
        decode_w, prefill_w, held_w: of all GPUs of the replica, while a part runs, and while none does.
        decode_mhz, prefill_mhz: the clock under lock and power limit.
    """

    lock_mhz: int
    decode_stretch: tuple[float, ...]
    decode_w: tuple[float, ...]
    decode_mhz: tuple[float, ...]
    prefill_stretch: float
    prefill_w: float
    prefill_mhz: float
    held_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Step times in s at the highest clock, and limits.

    Args:
        host_step_s, host_sequence_s: without a running kernel, per step and per sequence in it.
        weights_s, sequence_s, kv_s: decode, per step, per sequence in it, and per token that the batch keeps.
        prefill_s, attention_s: per token of a prompt, and per token of a prompt and each token before it.
        max_num_seqs, max_batched_tokens: sequences, and tokens per step: prompts beyond it are computed in chunks.
        kv_tokens: room for tokens that are kept.
        draft_tokens: speculative decoding: proposed tokens per sequence and step. Each is verified like a further sequence.
        draft_s: per proposed token, for the whole batch.
        accept_ratio: chance that a proposed token is accepted, if those before it were.
    """

    host_step_s: float
    host_sequence_s: float
    weights_s: float
    sequence_s: float
    kv_s: float
    prefill_s: float
    attention_s: float
    max_num_seqs: int
    max_batched_tokens: int
    kv_tokens: int
    draft_tokens: int = 0
    draft_s: float = 0.0
    accept_ratio: float = 0.0

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens that a sequence gains per decode step, 1 + a + ... + a^k; exactly 1 without drafts."""
        return 1 + sum(self.accept_ratio**n for n in range(1, self.draft_tokens + 1))
