/* What the board's sensors make of the truth: energy counter, power readings, utilisation.
 *
 * A sensor tick comes every `tick_ms` with jitter. At a tick the counter publishes: all energy since the last tick (model
 * full), or the mean power of the last `window_ms` times the time since the last tick (model sampled). Both see gain * P + offset.
 */
#include "plant.h"

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void plan_tick(struct gpu_state *s, const struct board *b) {
    int64_t jitter = (int64_t)b->tick_jitter_ms;
    int64_t shift = jitter ? (int64_t)(next_random(&s->random) % (uint64_t)(2 * jitter + 1)) - jitter : 0;
    s->tick_began_ms = s->t_ms;
    s->tick_at_ms = s->t_ms + (int64_t)b->tick_ms + shift;
}

void sensor_start(struct gpu_state *s, const struct board *b) {
    s->instant_mw = s->average_mw = (int64_t)((b->idle_w * b->gain + b->offset_w) * 1000.0);
    plan_tick(s, b);
    /* Boards do not tick together: the first tick falls anywhere in the period. */
    s->tick_at_ms = s->t_ms + 1 + (int64_t)(next_random(&s->random) % (uint64_t)b->tick_ms);
    s->period_at_ms = s->t_ms + (int64_t)b->utilization_period_ms;
}

static int64_t window_start(const struct gpu_state *s, const struct board *b) {
    int64_t start = s->tick_at_ms - (int64_t)b->window_ms;
    return start > s->tick_began_ms ? start : s->tick_began_ms;
}

/* The next instant at which a sensor does something; stretches of constant power end there. */
int64_t sensor_next_ms(const struct gpu_state *s, const struct board *b) {
    int64_t next = s->tick_at_ms < s->period_at_ms ? s->tick_at_ms : s->period_at_ms;
    int64_t start = window_start(s, b);
    return start > s->t_ms && start < next ? start : next;
}

void sensor_collect(struct gpu_state *s, const struct board *b, int64_t ms, int64_t true_nj, int64_t gain_nj) {
    (void)ms;
    s->tick_nj += gain_nj;
    s->tick_true_nj += true_nj;
    if (s->t_ms >= window_start(s, b)) s->window_nj += gain_nj;
}

static void tick(struct gpu_state *s, const struct board *b) {
    int64_t elapsed = s->t_ms - s->tick_began_ms, window = s->t_ms - window_start(s, b);
    int64_t seen = b->counter_sampled != 0.0 ? s->window_nj / window * elapsed : s->tick_nj;
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
        int64_t sum_nj = 0, sum_ms = 0;
        for (uint32_t i = 0; i < s->average_count; i++) {
            sum_nj += s->average_nj[i];
            sum_ms += s->average_ms[i];
        }
        s->counter_nj += seen;
        s->sensed_nj += seen;
        s->instant_mw = s->window_nj / window / 1000; /* nJ per ms is uW */
        s->average_mw = sum_nj / sum_ms / 1000;
    }
    s->tick_nj = s->tick_true_nj = s->window_nj = 0;
    plan_tick(s, b);
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
    if (s->t_ms >= s->tick_at_ms) tick(s, b);
    if (s->t_ms >= s->period_at_ms) end_period(s, b, base_utc_ns);
}

/* A driver reset: what was not published is gone, and the counter starts from 0. */
void sensor_restart_counter(struct gpu_state *s) {
    s->unseen_nj += s->held_nj + s->tick_nj;
    s->unseen_true_nj += s->held_true_nj + s->tick_true_nj;
    s->held_nj = s->held_true_nj = s->tick_nj = s->tick_true_nj = s->window_nj = 0;
    s->tick_began_ms = s->t_ms;
    if (s->tick_at_ms <= s->t_ms) s->tick_at_ms = s->t_ms + 1;
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
