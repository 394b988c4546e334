/* What the GPU's sensors make of the truth: energy counter, power readings, utilisation.
 *
 * All see gain * P + offset. The counter ticks every `tick_ms` with jitter and publishes all energy since its last tick (model
 * full), or the mean power of the last `window_ms` times that time (model sampled), both of `counter_lag_ms` ago. Instant and
 * average power change with the counter, on a clock of their own, or at every read. Energy is counted per ms, so that no result
 * depends on who reads when.
 */
#include <math.h>

#include "plant.h"

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void plan_tick(struct sensor_clock *c, int64_t now_ms, double period_ms, double jitter_ms) {
    int64_t jitter = (int64_t)jitter_ms;
    int64_t shift = jitter ? (int64_t)(next_random(&c->random) % (uint64_t)(2 * jitter + 1)) - jitter : 0;
    c->began_ms = now_ms;
    c->at_ms = now_ms + (int64_t)period_ms + shift;
}

/* The first tick is `phase_ms` after `from_ms`; negative: anywhere in the period, as GPUs do not tick together. */
static void start_clock(
    struct sensor_clock *c, int64_t now_ms, uint64_t seed, double period_ms, double jitter_ms, int64_t from_ms, double phase_ms) {
    c->random = seed;
    plan_tick(c, now_ms, period_ms, jitter_ms);
    int64_t drawn = (int64_t)(next_random(&c->random) % (uint64_t)(period_ms < 1.0 ? 1.0 : period_ms));
    c->at_ms = phase_ms < 0.0 ? now_ms + 1 + drawn : from_ms + (int64_t)phase_ms;
}

void sensor_start(struct gpu_state *s, const struct board *b, uint64_t seed) {
    s->average_uw = (b->idle_w * b->gain + b->offset_w) * 1e6;
    s->instant_mw = s->average_mw = (int64_t)((b->idle_w * b->gain + b->offset_w) * 1000.0);
    for (int i = 0; i < RECENT; i++) s->recent_uw[i] = (int32_t)s->average_uw;
    start_clock(&s->counter_clock, s->t_ms, seed, b->tick_ms, b->tick_jitter_ms, s->t_ms + 1, b->tick_phase_ms);
    int64_t first_ms = s->counter_clock.at_ms; /* the phase of the others is that against the counter */
    start_clock(&s->power_clock, s->t_ms, seed ^ 0x706f776572u, b->power_tick_ms, b->power_jitter_ms, first_ms, b->power_phase_ms);
    start_clock(
        &s->average_clock, s->t_ms, seed ^ 0x61766572u, b->average_tick_ms, b->average_jitter_ms, first_ms, b->average_phase_ms);
    s->period_at_ms = s->t_ms + (int64_t)b->utilization_period_ms;
}

/* Start of the window that ends with the counter's tick. */
static int64_t window_start(const struct gpu_state *s, const struct board *b) {
    int64_t start = s->counter_clock.at_ms - (int64_t)b->window_ms;
    return start > s->counter_clock.began_ms ? start : s->counter_clock.began_ms;
}

/* The next instant at which a sensor does something; intervals of constant power end there. */
int64_t sensor_next_ms(const struct gpu_state *s, const struct board *b) {
    int64_t next = s->counter_clock.at_ms < s->period_at_ms ? s->counter_clock.at_ms : s->period_at_ms;
    if (b->power_clock == TRIGGER_OWN && s->power_clock.at_ms < next) next = s->power_clock.at_ms;
    if (b->average_clock == TRIGGER_OWN && s->average_clock.at_ms < next) next = s->average_clock.at_ms;
    int64_t start = window_start(s, b);
    return start > s->t_ms && start < next ? start : next;
}

void sensor_collect(struct gpu_state *s, const struct board *b, int64_t ms, int64_t true_nj, int64_t gain_nj) {
    int64_t uw = gain_nj / ms; /* nJ per ms */
    s->tick_nj += gain_nj;
    s->tick_true_nj += true_nj;
    if (s->t_ms >= window_start(s, b)) s->window_nj += gain_nj;
    for (int64_t t = s->t_ms; t < s->t_ms + ms; t++) s->recent_uw[t % RECENT] = (int32_t)uw;
    if (b->average_tau_ms > 0.0) {
        double weight = 1.0 - exp(-1.0 / b->average_tau_ms);
        for (int64_t i = 0; i < ms; i++) s->average_uw += ((double)uw - s->average_uw) * weight;
    }
}

/* Sensed energy of `length` ms until `lag` ms ago. Before the node was made, power was that of an idle GPU. */
static int64_t recent_nj(const struct gpu_state *s, int64_t length, int64_t lag) {
    int64_t sum = 0, end = s->t_ms - lag + 2 * RECENT;
    for (int64_t t = end - length; t < end; t++) sum += s->recent_uw[t % RECENT]; /* uW for a ms are nJ */
    return sum;
}

/* Mean sensed power of the last `ms`. */
static int64_t recent_mw(const struct gpu_state *s, double ms) {
    return recent_nj(s, (int64_t)ms, 0) / (int64_t)ms / 1000;
}

static int64_t average_mw(const struct gpu_state *s, const struct board *b) {
    if (b->average_tau_ms > 0.0) return (int64_t)(s->average_uw / 1000.0);
    if (b->average_window_ms > 0.0) return recent_mw(s, b->average_window_ms);
    int64_t sum_nj = 0, sum_ms = 0;
    for (uint32_t i = 0; i < s->average_count; i++) {
        sum_nj += s->average_nj[i];
        sum_ms += s->average_ms[i];
    }
    return sum_nj / sum_ms / 1000;
}

static int is_fresh(const struct gpu_state *s, const struct board *b, double trigger) {
    if (fault_find(s, FAULT_STUCK_SENSOR, "")) return 0;
    return trigger == TRIGGER_READ || (trigger == TRIGGER_POWER && b->power_clock == TRIGGER_READ);
}

int64_t sensor_instant_mw(const struct gpu_state *s, const struct board *b) {
    return is_fresh(s, b, b->power_clock) ? recent_mw(s, b->window_ms) : s->instant_mw;
}

int64_t sensor_average_mw(const struct gpu_state *s, const struct board *b) {
    return is_fresh(s, b, b->average_clock) ? average_mw(s, b) : s->average_mw;
}

/* The sensors are about to be stuck: keep what a read returns now. */
void sensor_freeze(struct gpu_state *s, const struct board *b) {
    int64_t instant = sensor_instant_mw(s, b), average = sensor_average_mw(s, b);
    s->instant_mw = instant;
    s->average_mw = average;
}

static void power_tick(struct gpu_state *s, const struct board *b, int64_t instant_mw) {
    s->instant_mw = instant_mw;
    if (b->average_clock == TRIGGER_POWER) s->average_mw = average_mw(s, b);
}

static void counter_tick(struct gpu_state *s, const struct board *b) {
    int64_t elapsed = s->t_ms - s->counter_clock.began_ms, window = s->t_ms - window_start(s, b);
    int64_t lag = (int64_t)b->counter_lag_ms, pending = recent_nj(s, lag, 0); /* it stays in the tick that begins */
    if (pending > s->tick_nj) pending = s->tick_nj;
    int64_t pending_true = s->tick_nj ? (int64_t)((double)s->tick_true_nj * ((double)pending / (double)s->tick_nj)) : 0;
    s->tick_nj -= pending;
    s->tick_true_nj -= pending_true;
    int64_t sampled = lag ? recent_nj(s, window, lag) : s->window_nj;
    int64_t seen = b->counter_sampled != 0.0 ? sampled / window * elapsed : s->tick_nj;
    if (b->counter_of_module != 0.0) seen += (int64_t)(b->module_w * 1e6) * elapsed; /* W x ms is mJ */
    const struct fault *stuck = fault_find(s, FAULT_STUCK_SENSOR, "");
    s->average_nj[s->average_next] = s->tick_nj;
    s->average_ms[s->average_next] = elapsed;
    s->average_next = (s->average_next + 1) % AVERAGES;
    if (s->average_count < AVERAGES) s->average_count++;
    if (fault_find(s, FAULT_LOST, "")) { /* nobody counts */
        s->unseen_nj += s->tick_nj;
        s->unseen_true_nj += s->tick_true_nj;
    } else if (stuck) {
        s->held_nj += seen;
        s->held_true_nj += s->tick_true_nj;
    } else {
        s->counter_nj += seen;
        s->sensed_nj += seen;
        if (b->power_clock == TRIGGER_COUNTER) power_tick(s, b, s->window_nj / window / 1000); /* nJ per ms is uW */
        if (b->average_clock == TRIGGER_COUNTER) s->average_mw = average_mw(s, b);
    }
    s->tick_nj = pending;
    s->tick_true_nj = pending_true;
    s->window_nj = 0;
    plan_tick(&s->counter_clock, s->t_ms, b->tick_ms, b->tick_jitter_ms);
}

/* Ticks of power and average on clocks of their own. */
static void own_ticks(struct gpu_state *s, const struct board *b) {
    int frozen = fault_find(s, FAULT_STUCK_SENSOR, "") || fault_find(s, FAULT_LOST, "");
    if (b->power_clock == TRIGGER_OWN && s->t_ms >= s->power_clock.at_ms) {
        if (!frozen) power_tick(s, b, recent_mw(s, b->window_ms));
        plan_tick(&s->power_clock, s->t_ms, b->power_tick_ms, b->power_jitter_ms);
    }
    if (b->average_clock == TRIGGER_OWN && s->t_ms >= s->average_clock.at_ms) {
        if (!frozen) s->average_mw = average_mw(s, b);
        plan_tick(&s->average_clock, s->t_ms, b->average_tick_ms, b->average_jitter_ms);
    }
}

static uint32_t percent(double part_ms, double whole_ms) {
    double value = 100.0 * part_ms / whole_ms + 0.5;
    return value > 100.0 ? 100u : (uint32_t)value;
}

static void end_period(struct gpu_state *s, const struct board *b, int64_t base_utc_ns) {
    double period = b->utilization_period_ms;
    s->gpu_percent = percent(s->period_busy_ms, period);
    s->memory_percent = percent(s->period_memory_ms, period);
    s->period_busy_ms = s->period_memory_ms = 0.0;
    s->use_us[s->use_next] = base_utc_ns / 1000 + s->t_ms * 1000;
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->pid) slot->uses[s->use_next] = (uint16_t)(10000.0 * slot->period_sm_ms / period + 0.5);
        if (!slot->live) {
            slot->period_sm_ms = slot->period_memory_ms = 0.0;
            continue;
        }
        slot->sm_percent = percent(slot->period_sm_ms, period);
        slot->memory_percent = percent(slot->period_memory_ms, period);
        slot->period_sm_ms = slot->period_memory_ms = 0.0;
    }
    s->use_next = (s->use_next + 1) % USES;
    s->utilization_us = base_utc_ns / 1000 + s->t_ms * 1000;
    s->period_at_ms = s->t_ms + (int64_t)period;
}

void sensor_events(struct gpu_state *s, const struct board *b, int64_t base_utc_ns) {
    if (s->t_ms >= s->counter_clock.at_ms) counter_tick(s, b);
    own_ticks(s, b);
    if (s->t_ms >= s->period_at_ms) end_period(s, b, base_utc_ns);
}

/* A driver reset: what was not published is gone, and the counter starts from 0. */
void sensor_restart_counter(struct gpu_state *s) {
    s->unseen_nj += s->held_nj + s->tick_nj;
    s->unseen_true_nj += s->held_true_nj + s->tick_true_nj;
    s->held_nj = s->held_true_nj = s->tick_nj = s->tick_true_nj = s->window_nj = 0;
    s->counter_clock.began_ms = s->t_ms;
    if (s->counter_clock.at_ms <= s->t_ms) s->counter_clock.at_ms = s->t_ms + 1;
    s->counter_nj = 0;
    s->counter_resets++;
}

/* The end of a stuck sensor: it adds what it withheld, or goes on from where it froze. */
void sensor_release(struct gpu_state *s, int catch_up) {
    if (catch_up) {
        s->counter_nj += s->held_nj;
        s->sensed_nj += s->held_nj;
    } else {
        s->unseen_nj += s->held_nj;
        s->unseen_true_nj += s->held_true_nj;
    }
    s->held_nj = s->held_true_nj = 0;
}
