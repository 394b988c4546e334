/*
 * Discrete-event model of one vLLM V1 engine: one scheduler, one group of GPUs.
 *
 * A step is scheduled as in vLLM V1 (continuous batching, chunked prefill under a token budget, paged KV cache, preemption by
 * recomputation). Its time and power follow from the work in it (roofline) and the clock at its start.
 * Units: s, W, J, MHz, bytes, FLOP.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum { TTFT_BUCKETS = 22, ITL_BUCKETS = 19, BLOCK_TOKENS = 16, LIMITER_HALVINGS = 14, GENERATOR_WARMUP = 20 };

static const double LIMITER_LOWEST_RATIO = 0.3; /* of the top clock */
static const double HOST_CLOCK_SHARE = 0.6;     /* clock-tree power while the GPU waits for the CPU in a step */
const double IDLE_CLOCK_SHARE = 0.5;            /* and without work */
static const double CPU_NOISE_FACTOR = 4;       /* CPU times vary more than GPU times */
static const double NEVER_S = 1e18;

/* Upper edges of vLLM 0.32. The time per output token of a request has those of the inter-token latency. */
const double TTFT_EDGES[TTFT_BUCKETS] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5,  0.75,
                                         1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640,  2560};
const double ITL_EDGES[ITL_BUCKETS] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                       0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};

/* Same order as EngineParams in engine.py. Everything is of the whole group of GPUs. */
typedef struct {
  /* Model. A step of n tokens reads dense_params + expert_params * (1 - (1 - expert_share)^n) weights. */
  double active_params, dense_params, expert_params, expert_share;
  double weight_bytes, kv_bytes_per_token, layers, attention_width;
  /* GPUs. */
  double flop_per_s, bytes_per_s, top_mhz, memory_knee_mhz, voltage_knee_mhz, lowest_voltage_ratio;
  double idle_w, clock_w, memory_w, compute_w, limit_w, limiter_waste_ratio;
  double overlap_norm, launch_s, all_reduce_s, all_reduce_bytes_per_token, link_bytes_per_s;
  /* CPU time per step: with CUDA graphs, in addition for a step with a prompt, per sequence. */
  double cpu_step_s, cpu_prompt_s, cpu_sequence_s;
  /* Engine. */
  double batched_tokens, running_limit, kv_blocks, draft_tokens, draft_acceptance, draft_cost_ratio;
  double noise_ratio, stall_probability, stall_s, frontend_s, is_decode_pool;
} Params;

/* Cumulative counts: bucket i counts values up to edge i. */
typedef struct {
  double sum_s, count, buckets[TTFT_BUCKETS];
} Histogram;

/* Same order as Metrics in engine.py. */
typedef struct {
  double time_s, energy_j, prompt_tokens, generated_tokens, requests, steps, running, waiting, draft_tokens, accepted_tokens;
  double preemptions, power_limited_s, gpu_busy_s;
  Histogram ttft, itl, request_itl;
} Metrics;

typedef struct {
  double arrival_s, ready_s, first_s, last_s; /* ready_s: when a decode pool has received its KV cache */
  int prompt, output, cached;
  int computed, generated, blocks, scheduled;
  int was_preempted;
} Request;

typedef struct {
  Params params;
  Metrics metrics;
  Request *requests;
  int request_count, next_arrival;
  int *running, running_count;
  int *waiting, waiting_head, waiting_tail;
  double free_blocks, now_s, energy_until_s;
  int has_step;
  double step_end_s, step_w;
  uint64_t generator;
} Engine;

/* xorshift64, uniform within (0, 1). */
static double draw_uniform(Engine *e) {
  e->generator ^= e->generator << 13;
  e->generator ^= e->generator >> 7;
  e->generator ^= e->generator << 17;
  return ((e->generator >> 11) + 0.5) / 9007199254740992.0;
}

/* Standard normal (Box and Muller). */
static double draw_normal(Engine *e) {
  double radius = sqrt(-2 * log(draw_uniform(e)));
  return radius * cos(6.283185307179586 * draw_uniform(e));
}

/* Create an engine with its future requests in order of arrival. */
Engine *engine_new(const Params *params, int count, const double *arrival_s, const double *ready_s, const int *prompt,
                   const int *output, const int *cached, uint64_t seed) {
  Engine *e = calloc(1, sizeof *e);
  e->params = *params;
  e->requests = calloc(count, sizeof *e->requests);
  e->request_count = count;
  for (int i = 0; i < count; i++) {
    Request *r = &e->requests[i];
    r->arrival_s = arrival_s[i];
    r->ready_s = ready_s[i];
    r->prompt = prompt[i];
    r->output = output[i];
    r->cached = cached[i];
  }
  e->running = calloc((size_t)params->running_limit, sizeof *e->running);
  e->waiting = calloc(count, sizeof *e->waiting);
  e->free_blocks = params->kv_blocks;
  e->generator = seed * 2654435761u + 88172645463325252ull;
  for (int i = 0; i < GENERATOR_WARMUP; i++) draw_uniform(e);
  return e;
}

void engine_free(Engine *e) {
  free(e->requests);
  free(e->running);
  free(e->waiting);
  free(e);
}

const Metrics *engine_metrics(const Engine *e) { return &e->metrics; }

/* Times of the first and last token of each request. */
void engine_token_times(const Engine *e, double *first_s, double *last_s) {
  for (int i = 0; i < e->request_count; i++) {
    first_s[i] = e->requests[i].first_s;
    last_s[i] = e->requests[i].last_s;
  }
}

/* f V(f)^2 relative to the top clock: the voltage is constant up to a knee and rises linearly above it. */
static double relative_switching_power(const Params *p, double mhz) {
  double low = p->lowest_voltage_ratio;
  double voltage = low + (1 - low) * (mhz - p->voltage_knee_mhz) / (p->top_mhz - p->voltage_knee_mhz);
  if (voltage < low) voltage = low;
  return mhz / p->top_mhz * voltage * voltage;
}

typedef struct {
  double flop, bytes, tokens;
} Work;

typedef struct {
  double time_s, power_w;
} Cost;

/* GPU time and power of a step at a clock. */
static Cost gpu_cost(const Params *p, Work work, double mhz) {
  double clock_ratio = mhz / p->top_mhz;
  double compute_s = work.flop / (p->flop_per_s * clock_ratio);
  double memory_s = work.bytes / (p->bytes_per_s * fmin(1, mhz / p->memory_knee_mhz));
  double norm = p->overlap_norm, kernels_s = compute_s + memory_s;
  if (norm > 1) kernels_s = pow(pow(compute_s, norm) + pow(memory_s, norm), 1 / norm);
  double total_s = kernels_s + p->launch_s / clock_ratio + p->all_reduce_s +
                   work.tokens * p->all_reduce_bytes_per_token / p->link_bytes_per_s;
  double switching = relative_switching_power(p, mhz);
  double power_w = p->idle_w + p->clock_w * switching + p->memory_w * fmin(1, memory_s / total_s) +
                   p->compute_w * switching * fmin(1, compute_s / total_s);
  return (Cost){total_s, power_w};
}

/* As gpu_cost, but above the power limit the limiter lowers the clock for the step and wastes some time. */
static Cost limited_cost(Engine *e, Work work, double mhz) {
  const Params *p = &e->params;
  Cost cost = gpu_cost(p, work, mhz);
  if (cost.power_w <= p->limit_w) return cost;
  double low = LIMITER_LOWEST_RATIO * p->top_mhz, high = mhz;
  for (int i = 0; i < LIMITER_HALVINGS; i++) {
    double middle = (low + high) / 2;
    if (gpu_cost(p, work, middle).power_w > p->limit_w)
      high = middle;
    else
      low = middle;
  }
  cost = gpu_cost(p, work, low);
  cost.time_s *= 1 + p->limiter_waste_ratio;
  e->metrics.power_limited_s += cost.time_s;
  return cost;
}

static void release_blocks(Engine *e, Request *r) {
  e->free_blocks += r->blocks;
  r->blocks = 0;
}

/* Reserve KV blocks for the first `tokens` tokens of a request; 0 if too few are free. */
static int reserve_blocks(Engine *e, Request *r, int tokens) {
  int missing = (tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS - r->blocks;
  if (missing <= 0) return 1;
  if (missing > e->free_blocks) return 0;
  e->free_blocks -= missing;
  r->blocks += missing;
  return 1;
}

/* The last admitted request loses its KV cache and waits in front of all others. */
static void preempt_last(Engine *e) {
  int last = e->running[--e->running_count];
  Request *r = &e->requests[last];
  release_blocks(e, r);
  r->was_preempted = 1;
  e->waiting[--e->waiting_head] = last; /* a request that ran has left this place free */
  e->metrics.preemptions++;
}

/* A decode pool cannot admit a request whose KV cache is on its way from the prefill pool. */
static int is_in_transfer(const Engine *e, const Request *r, double at_s) {
  return e->params.is_decode_pool && !r->was_preempted && r->ready_s > at_s;
}

/* Distribute the step's budget among the running requests; return what is left, 0 after a preemption. */
static int schedule_running(Engine *e, int budget) {
  int i = 0, has_preempted = 0;
  while (i < e->running_count && budget > 0) {
    Request *r = &e->requests[e->running[i]];
    int tokens = r->prompt + r->generated - r->computed;
    if (tokens == 1 && r->generated > 0) tokens += (int)e->params.draft_tokens;
    if (tokens > budget) tokens = budget;
    while (i < e->running_count && !reserve_blocks(e, r, r->computed + tokens)) {
      preempt_last(e);
      has_preempted = 1;
    }
    if (i == e->running_count) break; /* it was the last one and preempted itself */
    r->scheduled = tokens;
    budget -= tokens;
    i++;
  }
  for (; i < e->running_count; i++) e->requests[e->running[i]].scheduled = 0;
  return has_preempted ? 0 : budget;
}

/* Admit waiting requests in their order while budget, places and KV blocks last. */
static void admit_waiting(Engine *e, int budget) {
  while (e->waiting_head < e->waiting_tail && e->running_count < (int)e->params.running_limit && budget > 0) {
    int first = e->waiting[e->waiting_head];
    Request *r = &e->requests[first];
    if (is_in_transfer(e, r, e->now_s)) return;
    int start = e->params.is_decode_pool && !r->was_preempted ? r->prompt - 1 : r->cached;
    int tokens = r->prompt + r->generated - start;
    if (tokens > budget) tokens = budget;
    if (!reserve_blocks(e, r, start + tokens)) return;
    r->computed = start;
    r->scheduled = tokens;
    budget -= tokens;
    e->waiting_head++;
    e->running[e->running_count++] = first;
  }
}

/* Start a step with the scheduled tokens; return 0 if there are none. */
static int begin_step(Engine *e, double mhz) {
  const Params *p = &e->params;
  double attention_flop = 0, kv_bytes = 0;
  int tokens = 0, sequences = 0, has_prompt = 0, has_drafts = 0;
  for (int i = 0; i < e->running_count; i++) {
    const Request *r = &e->requests[e->running[i]];
    int n = r->scheduled;
    if (n == 0) continue;
    tokens += n;
    sequences++;
    if (r->generated == 0 || n > 1 + (int)p->draft_tokens)
      has_prompt = 1;
    else if (n > 1)
      has_drafts = 1;
    attention_flop += 4.0 * n * (r->computed + n / 2.0) * p->attention_width * p->layers;
    kv_bytes += (r->computed + n) * p->kv_bytes_per_token;
  }
  if (tokens == 0) return 0;

  double weights = p->dense_params + p->expert_params * (1 - pow(1 - p->expert_share, tokens));
  double flop = 2 * p->active_params * tokens;
  double bytes = weights * p->weight_bytes + kv_bytes;
  if (has_drafts) { /* the draft model runs once per drafted token */
    flop *= 1 + p->draft_cost_ratio;
    bytes += p->draft_cost_ratio * p->draft_tokens * weights * p->weight_bytes;
  }
  Cost cost = limited_cost(e, (Work){flop + attention_flop, bytes, tokens}, mhz);
  double gpu_s = cost.time_s * exp(p->noise_ratio * draw_normal(e));
  double cpu_s = p->cpu_step_s + (has_prompt ? p->cpu_prompt_s : 0) + p->cpu_sequence_s * sequences;
  cpu_s *= exp(CPU_NOISE_FACTOR * p->noise_ratio * draw_normal(e));
  if (draw_uniform(e) < p->stall_probability) cpu_s += p->stall_s * -log(draw_uniform(e));
  double cpu_w = p->idle_w + HOST_CLOCK_SHARE * p->clock_w * relative_switching_power(p, mhz);

  e->metrics.gpu_busy_s += gpu_s;
  e->step_end_s = e->now_s + gpu_s + cpu_s;
  e->step_w = (gpu_s * cost.power_w + cpu_s * cpu_w) / (gpu_s + cpu_s);
  e->has_step = 1;
  return 1;
}

static void observe(Histogram *histogram, const double *edges, int buckets, double value_s) {
  for (int i = 0; i < buckets; i++)
    if (value_s <= edges[i]) histogram->buckets[i]++;
  histogram->sum_s += value_s;
  histogram->count++;
}

/* Account for the scheduled tokens of a request; return the number of new output tokens. */
static int compute_tokens(Engine *e, Request *r) {
  int length = r->prompt + r->generated, new_tokens = 0;
  if (r->computed == length - 1 && r->scheduled > 1) { /* drafts are accepted up to the first wrong one */
    int drafts = r->scheduled - 1, accepted = 0;
    while (accepted < drafts && draw_uniform(e) < e->params.draft_acceptance) accepted++;
    e->metrics.draft_tokens += drafts;
    e->metrics.accepted_tokens += accepted;
    new_tokens = 1 + accepted;
  } else {
    r->computed += r->scheduled;
    new_tokens = r->computed >= length;
  }
  if (new_tokens > r->output - r->generated) new_tokens = r->output - r->generated;
  return new_tokens;
}

/* Record output tokens, which reach the client together. */
static void emit_tokens(Engine *e, Request *r, int tokens, double at_s) {
  Metrics *m = &e->metrics;
  if (r->generated == 0) {
    r->first_s = at_s;
    if (!e->params.is_decode_pool) m->prompt_tokens += r->prompt - r->cached;
    observe(&m->ttft, TTFT_EDGES, TTFT_BUCKETS, at_s - r->arrival_s);
  } else {
    observe(&m->itl, ITL_EDGES, ITL_BUCKETS, at_s - r->last_s);
  }
  r->last_s = at_s;
  r->generated += tokens;
  r->computed = r->prompt + r->generated - 1;
  m->generated_tokens += tokens;
}

static void finish_request(Engine *e, Request *r) {
  double mean_s = r->output > 1 ? (r->last_s - r->first_s) / (r->output - 1) : 0;
  observe(&e->metrics.request_itl, ITL_EDGES, ITL_BUCKETS, mean_s);
  e->metrics.requests++;
  release_blocks(e, r);
}

static void add_energy(Engine *e, double power_w, double until_s) {
  e->metrics.energy_j += power_w * (until_s - e->energy_until_s);
  e->energy_until_s = until_s;
}

/* End the step: emit tokens, and set the gauges as vLLM does, before new arrivals are read. */
static void complete_step(Engine *e) {
  double began_s = e->now_s;
  add_energy(e, e->step_w, e->step_end_s);
  e->now_s = e->step_end_s;
  e->has_step = 0;
  e->metrics.steps++;
  int kept = 0;
  for (int i = 0; i < e->running_count; i++) {
    Request *r = &e->requests[e->running[i]];
    int tokens = r->scheduled > 0 ? compute_tokens(e, r) : 0;
    if (tokens > 0) emit_tokens(e, r, tokens, e->now_s + e->params.frontend_s);
    if (r->generated >= r->output)
      finish_request(e, r);
    else
      e->running[kept++] = e->running[i];
  }
  e->running_count = kept;
  e->metrics.running = kept;
  e->metrics.waiting = 0;
  for (int i = e->waiting_head; i < e->waiting_tail; i++)
    if (!is_in_transfer(e, &e->requests[e->waiting[i]], began_s)) e->metrics.waiting++;
}

/* Time of the next arrival or received KV cache. */
static double next_event_s(const Engine *e) {
  double next_s = e->next_arrival < e->request_count ? e->requests[e->next_arrival].arrival_s : NEVER_S;
  if (e->waiting_head < e->waiting_tail) {
    const Request *r = &e->requests[e->waiting[e->waiting_head]];
    if (r->ready_s > e->now_s) next_s = fmin(next_s, r->ready_s);
  }
  return next_s;
}

/* Run until a time. Steps that start before it use this clock; a step in progress keeps its own. */
void engine_advance(Engine *e, double until_s, double mhz) {
  const Params *p = &e->params;
  double idle_w = p->idle_w + IDLE_CLOCK_SHARE * p->clock_w * relative_switching_power(p, mhz);
  e->metrics.time_s = until_s;
  for (;;) {
    if (e->has_step) {
      if (e->step_end_s > until_s) {
        add_energy(e, e->step_w, until_s);
        return;
      }
      complete_step(e);
    }
    while (e->next_arrival < e->request_count && e->requests[e->next_arrival].arrival_s <= e->now_s)
      e->waiting[e->waiting_tail++] = e->next_arrival++;
    admit_waiting(e, schedule_running(e, (int)p->batched_tokens));
    if (begin_step(e, mhz)) continue;
    double next_s = fmin(next_event_s(e), until_s);
    add_energy(e, idle_w, next_s);
    e->now_s = next_s;
    if (next_s >= until_s) return;
  }
}
