/* The GPU as a physical thing: clock, power, temperature, and the work that gets done.
 *
 * Time goes in whole ms. Between events (sensor ticks, thermal steps, clock moves, work that ends) everything is constant, and
 * energy is an integer of nJ per ms; so a stretch of n ms is n times one ms exactly, and the result does not depend on who
 * calls when: the same seed and load give the same bits.
 */
#include <string.h>

#include "plant.h"

enum { REASON_IDLE = 0x1, REASON_POWER_CAP = 0x4, REASON_SW_THERMAL = 0x20 };

static double bandwidth_ratio(const struct board *b, double f_mhz) {
    return f_mhz < b->bandwidth_knee_mhz ? f_mhz / b->bandwidth_knee_mhz : 1.0;
}

/* Static power plus the share x of the saturating curve, plus the power of the memory. */
double board_power(const struct board *b, double temperature_c, double f_mhz, double boundness, double intensity) {
    double excess = f_mhz > b->knee_mhz ? 1.0 + b->s_per_mhz * (f_mhz - b->knee_mhz) : 1.0;
    if (excess > b->voltage_ceiling_ratio) excess = b->voltage_ceiling_ratio;
    double x = 1.0 - boundness * (1.0 - b->memory_x);
    double memory_w = boundness * bandwidth_ratio(b, f_mhz) * b->memory_power_ratio * b->tdp_w;
    double static_w = b->p0_w * (1.0 + b->leak_per_k * (temperature_c - b->t_ref_c));
    return static_w + intensity * (x * b->b_w_per_mhz * f_mhz * excess * excess + memory_w);
}

/* Progress relative to the maximum clock. Below the bandwidth knee memory-bound work starts to follow the clock. */
double board_speed(const struct board *b, double f_mhz, double boundness) {
    double m = boundness * bandwidth_ratio(b, f_mhz);
    return 1.0 / (m + (1.0 - m) * b->f_max_mhz / f_mhz);
}

struct load {
    int active; /* slots with work; they share the GPU in time, or where lanes are concurrent its SMs */
    int held;
    double boundness, intensity; /* means over the active slots */
    struct lanes lanes;
};

static struct load current_load(const struct gpu_state *s, const struct board *b) {
    struct load l = {0};
    lanes_find(s, b, &l.lanes);
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &s->slots[i];
        if (!slot->live) continue;
        l.held++;
        if (!slot->count) continue;
        l.active++;
        l.boundness += slot->queue[slot->head].boundness;
        l.intensity += slot->queue[slot->head].intensity;
    }
    if (l.active && l.lanes.concurrent) {
        l.boundness = l.lanes.boundness;
        l.intensity = l.lanes.intensity;
    } else if (l.active) {
        l.boundness /= l.active;
        l.intensity /= l.active;
    }
    return l;
}

static double power_now(const struct gpu_state *s, const struct board *b, const struct load *l, double f_mhz) {
    if (l->active) return board_power(b, s->temperature_c, f_mhz, l->boundness, l->intensity);
    double idle_c = b->ambient_c + b->thermal_k_per_w * b->idle_w;
    double idle_w = b->idle_w * (1.0 + b->leak_per_k * (s->temperature_c - idle_c));
    if (f_mhz <= b->f_idle_mhz) return idle_w;
    return idle_w + b->held_idle_x * b->b_w_per_mhz * (f_mhz - b->f_idle_mhz); /* clocks up, nothing runs */
}

/* The clock that the regulator wants, in steps of the SKU, and why it is not the maximum. */
static int32_t wanted_clock(struct gpu_state *s, const struct board *b, const struct load *l, uint32_t *reasons) {
    int32_t step = (int32_t)b->f_step_mhz, low = (int32_t)b->f_min_mhz, ceiling = (int32_t)b->f_max_mhz;
    *reasons = l->active ? 0 : REASON_IDLE;
    if (s->lock_high_mhz && s->lock_high_mhz < ceiling) ceiling = s->lock_high_mhz;
    if (s->thermal_ceiling_mhz < ceiling) {
        ceiling = s->thermal_ceiling_mhz;
        if (l->active) *reasons |= REASON_SW_THERMAL;
    }
    if (!l->active) {
        int32_t idle = (int32_t)b->f_idle_mhz;
        if (s->lock_high_mhz && s->lock_low_mhz > idle) idle = s->lock_low_mhz;
        if (idle > ceiling) idle = ceiling;
        int rests = !l->held && s->t_ms - s->last_work_ms >= (int64_t)b->idle_after_ms;
        return rests || s->f_mhz <= idle ? idle : ceiling;
    }
    double cap_w = ((double)s->limit_mw / 1000.0 - b->offset_w) / b->gain; /* a board caps what its own sensor reads */
    if (power_now(s, b, l, ceiling) <= cap_w || ceiling <= low) return ceiling;
    *reasons |= REASON_POWER_CAP;
    int32_t good = 0, bad = (ceiling - low) / step + 1; /* clocks low + i * step; `low` always runs */
    while (bad - good > 1) {
        int32_t middle = (good + bad) / 2;
        if (power_now(s, b, l, low + middle * step) <= cap_w) good = middle;
        else bad = middle;
    }
    return low + good * step;
}

static void regulate(struct gpu_state *s, const struct board *b, int32_t wanted) {
    int32_t step = (int32_t)b->f_step_mhz;
    int32_t stride = (int32_t)((b->f_max_mhz - b->f_min_mhz) / 4.0 / step + 1) * step; /* the whole range in four moves */
    int32_t gap = wanted - s->f_mhz;
    s->f_mhz += gap > stride ? stride : gap < -stride ? -stride : gap;
}

static void thermal_step(struct gpu_state *s, const struct board *b) {
    double mean_w = (double)s->thermal_nj * 1e-6 / THERMAL_MS;
    double goal = s->ambient_c + b->thermal_k_per_w * mean_w;
    s->temperature_c += (goal - s->temperature_c) * (THERMAL_MS / 1000.0) / b->thermal_tau_s;
    s->thermal_nj = 0;
    int32_t step = (int32_t)b->f_step_mhz;
    if (s->temperature_c > b->slowdown_c && s->thermal_ceiling_mhz - step >= (int32_t)b->f_min_mhz)
        s->thermal_ceiling_mhz -= step;
    else if (s->temperature_c < b->slowdown_c - 2.0 && s->thermal_ceiling_mhz < (int32_t)b->f_max_mhz)
        s->thermal_ceiling_mhz += step;
}

/* Work that a slot gets done, in ns a ms. */
static int64_t rate_of(const struct gpu_state *s, const struct board *b, const struct load *l, int slot, double boundness) {
    double whole = board_speed(b, s->f_mhz, boundness) * 1e6;
    return (int64_t)(l->lanes.concurrent ? whole * l->lanes.lane[slot].share : whole / l->active);
}

/* The ms for which no piece of work ends; at least one. */
static int64_t until_work_ends(const struct gpu_state *s, const struct board *b, const struct load *l) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &s->slots[i];
        if (!slot->live || !slot->count) continue;
        const struct segment *work = &slot->queue[slot->head];
        int64_t rate = rate_of(s, b, l, i, work->boundness);
        int64_t ms = work->left_ns / (rate > 0 ? rate : 1);
        if (ms < least) least = ms;
    }
    return least > 0 ? least : 1;
}

/* SM time of a slot, and true energy, where work runs side by side. */
static void run_beside(struct gpu_state *s, const struct board *b, int64_t ms, const struct lane *lane, struct slot *slot, int64_t true_nj) {
    double static_nj = board_power(b, s->temperature_c, s->f_mhz, 0.0, 0.0) * 1e6 * (double)ms;
    slot->busy_ns += (int64_t)((double)ms * 1e6 * lane->share);
    slot->active_nj += (int64_t)(static_nj * lane->static_x + ((double)true_nj - static_nj) * lane->dynamic_x);
    slot->period_sm_ms += (double)ms * lane->share;
}

static void do_work(struct gpu_state *s, const struct board *b, int64_t ms, const struct load *l, int64_t true_nj) {
    double bandwidth = bandwidth_ratio(b, s->f_mhz);
    int active = l->active;
    int busy[MIG_MAX] = {0};
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &s->slots[i];
        if (!slot->live || !slot->count) continue;
        double boundness = slot->queue[slot->head].boundness;
        int64_t budget = rate_of(s, b, l, i, boundness) * ms;
        if (l->lanes.concurrent) run_beside(s, b, ms, &l->lanes.lane[i], slot, true_nj);
        else {
            slot->busy_ns += ms * 1000000 / active;
            slot->active_nj += true_nj / active;
            slot->period_sm_ms += (double)ms / active;
        }
        if (mig_of(s, i) >= 0) busy[mig_of(s, i)] = 1;
        slot->period_memory_ms += (double)ms * boundness * bandwidth / active;
        s->period_memory_ms += (double)ms * boundness * bandwidth / active;
        double intensity = slot->queue[slot->head].intensity; /* at most 2, so a share of half of it is one */
        s->health.memory_ms += (double)ms * boundness * bandwidth * intensity / 2.0 / active;
        s->health.tensor_ms += (double)ms * (1.0 - boundness) * intensity / 2.0 / active;
        while (budget > 0 && slot->count) { /* what is left of a ms goes to the next piece */
            struct segment *work = &slot->queue[slot->head];
            int64_t part = work->left_ns < budget ? work->left_ns : budget;
            work->left_ns -= part;
            slot->done_ns += part;
            budget -= part;
            if (!work->left_ns) {
                slot->head = (slot->head + 1) % SEGMENTS;
                slot->count--;
            }
        }
    }
    for (int i = 0; i < MIG_MAX; i++) s->health.instance_busy_ns[i] += busy[i] * ms * 1000000;
    s->busy_ns += ms * 1000000;
    s->period_busy_ms += (double)ms;
    s->last_work_ms = s->t_ms + ms;
}

static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }

void state_advance(struct gpu_state *s, const struct board *b, int64_t target_ms, int64_t base_utc_ns) {
    while (s->t_ms < target_ms) {
        if (s->settings_at_ms >= 0 && s->t_ms >= s->settings_at_ms) {
            s->lock_low_mhz = s->next_low_mhz;
            s->lock_high_mhz = s->next_high_mhz;
            s->limit_mw = s->next_limit_mw;
            s->settings_at_ms = -1;
        }
        struct load l = current_load(s, b);
        int32_t wanted = wanted_clock(s, b, &l, &s->reasons);
        if (wanted != s->f_mhz && s->t_ms % CONTROL_MS == 0) regulate(s, b, wanted);
        s->power_w = power_now(s, b, &l, s->f_mhz);

        int64_t end = sooner(target_ms, sensor_next_ms(s, b));
        end = sooner(end, (s->t_ms / THERMAL_MS + 1) * THERMAL_MS);
        if (wanted != s->f_mhz) end = sooner(end, (s->t_ms / CONTROL_MS + 1) * CONTROL_MS);
        if (s->settings_at_ms >= 0) end = sooner(end, s->settings_at_ms);
        if (l.active) end = sooner(end, s->t_ms + until_work_ends(s, b, &l));
        else if (!l.held && s->t_ms < s->last_work_ms + (int64_t)b->idle_after_ms)
            end = sooner(end, s->last_work_ms + (int64_t)b->idle_after_ms);

        int64_t ms = end - s->t_ms;
        int64_t true_nj = (int64_t)(s->power_w * 1e6 + 0.5) * ms; /* 1 W for 1 ms is 1e6 nJ */
        int64_t gain_nj = (int64_t)((s->power_w * b->gain + b->offset_w) * 1e6 + 0.5) * ms;
        s->true_nj += true_nj;
        s->thermal_nj += true_nj;
        if (s->reasons & REASON_POWER_CAP) s->power_cap_ns += ms * 1000000;
        if (s->reasons & REASON_SW_THERMAL) s->thermal_ns += ms * 1000000;
        if (l.held) lanes_rest(s, b, ms, true_nj);
        if (l.active) do_work(s, b, ms, &l, true_nj);
        sensor_collect(s, b, ms, true_nj, gain_nj);
        s->t_ms = end;
        if (s->t_ms % THERMAL_MS == 0) thermal_step(s, b);
        sensor_events(s, b, base_utc_ns);
    }
}

void state_start(struct gpu_state *s, const struct board *b, uint64_t seed) {
    memset(s, 0, sizeof *s);
    s->f_mhz = (int32_t)b->f_idle_mhz;
    s->thermal_ceiling_mhz = (int32_t)b->f_max_mhz;
    s->ambient_c = b->ambient_c;
    s->temperature_c = b->ambient_c + b->thermal_k_per_w * b->idle_w;
    s->power_w = b->idle_w;
    s->reasons = REASON_IDLE;
    s->last_work_ms = -(int64_t)b->idle_after_ms;
    settings_default(s, b);
    sensor_start(s, b, seed);
}
