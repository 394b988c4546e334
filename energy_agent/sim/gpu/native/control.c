/* What Python asks of a plant (energy_agent/sim/gpu/plant.py): move its time, submit work, set faults, read the truth.
 *
 * Every function returns 0 or a count, or a negative WL_ code.
 */
#include <string.h>

#include "plant.h"

/* ---- time and facts ---- */

EXPORT int wl_count(struct plant *plant) { return (int)plant->header->gpu_count; }
EXPORT int64_t wl_now_ns(struct plant *plant) { return plant_now_ns(plant); }
EXPORT double wl_rate(struct plant *plant) { return plant->header->rate; }
EXPORT int wl_manual(struct plant *plant) { return (int)plant->header->manual; }
EXPORT const char *wl_uuid(struct plant *plant, uint32_t gpu) {
    return gpu < plant->header->gpu_count ? plant_gpu(plant, gpu)->board.uuid : NULL;
}

EXPORT int wl_advance_to(struct plant *plant, int64_t utc_ns) {
    struct header *h = plant->header;
    if (!h->manual || utc_ns < atomic_load(&h->manual_now_ns)) return WL_ARGUMENT;
    atomic_store(&h->manual_now_ns, utc_ns);
    for (uint32_t i = 0; i < h->gpu_count; i++) {
        struct visit v;
        if (visit_begin(&v, plant, i)) return WL_LOCK;
        visit_end(&v);
    }
    return 0;
}

/* ---- work ---- */

static int enter(struct visit *v, struct plant *plant, uint32_t gpu) {
    if (gpu >= plant->header->gpu_count) return WL_ARGUMENT;
    return visit_begin(v, plant, gpu) ? WL_LOCK : 0;
}

EXPORT int wl_process_attach(struct plant *plant, uint32_t gpu, int32_t pid, uint64_t memory_b) {
    uint64_t born = 0;
    if (pid <= 0 || !process_alive(pid, &born)) return WL_GONE;
    struct visit v;
    int rc = enter(&v, plant, gpu);
    if (rc) return rc;
    rc = fault_find(v.state, FAULT_LOST, "") ? WL_LOST : WL_FULL;
    if (rc == WL_FULL) {
        int chosen = -1; /* an unused slot, else the one that ended first */
        for (int i = 0; i < SLOTS; i++) {
            const struct slot *slot = &v.state->slots[i];
            if (slot->live) continue;
            if (chosen < 0 || (slot->pid ? slot->ended_ms : -1) < (v.state->slots[chosen].pid ? v.state->slots[chosen].ended_ms : -1))
                chosen = i;
        }
        if (chosen >= 0) {
            struct slot *slot = &visit_edit(&v)->slots[chosen];
            memset(slot, 0, sizeof *slot);
            slot->pid = pid;
            slot->born = born;
            slot->live = 1;
            slot->memory_b = memory_b;
            rc = chosen;
        }
    }
    visit_end(&v);
    return rc;
}

/* Enter the GPU of a live slot; leaves it unlocked on failure. */
static int enter_slot(struct visit *v, struct plant *plant, uint32_t gpu, int slot) {
    if (slot < 0 || slot >= SLOTS) return WL_ARGUMENT;
    int rc = enter(v, plant, gpu);
    if (rc) return rc;
    if (v->state->slots[slot].live) return 0;
    rc = fault_find(v->state, FAULT_LOST, "") ? WL_LOST : WL_GONE;
    visit_end(v);
    return rc;
}

EXPORT int wl_process_detach(struct plant *plant, uint32_t gpu, int slot) {
    struct visit v;
    int rc = enter_slot(&v, plant, gpu, slot);
    if (rc) return rc;
    struct gpu_state *s = visit_edit(&v);
    slot_end(s, &s->slots[slot]);
    visit_end(&v);
    return 0;
}

EXPORT int64_t wl_submit(struct plant *plant, uint32_t gpu, int slot, int64_t reference_ns, double boundness, double intensity) {
    if (reference_ns <= 0 || !(boundness >= 0.0 && boundness <= 1.0) || !(intensity >= 0.0 && intensity <= 2.0)) return WL_ARGUMENT;
    struct visit v;
    int rc = enter_slot(&v, plant, gpu, slot);
    if (rc) return rc;
    struct slot *s = &visit_edit(&v)->slots[slot];
    struct segment *last = s->count ? &s->queue[(s->head + s->count - 1) % SEGMENTS] : NULL;
    int64_t ticket = WL_FULL;
    if (last && last->boundness == boundness && last->intensity == intensity) {
        last->left_ns += reference_ns;
        ticket = s->submitted_ns += reference_ns;
    } else if (s->count < SEGMENTS) {
        s->queue[(s->head + s->count) % SEGMENTS] = (struct segment){reference_ns, boundness, intensity};
        s->count++;
        ticket = s->submitted_ns += reference_ns;
    }
    visit_end(&v);
    return ticket;
}

EXPORT int64_t wl_done_ns(struct plant *plant, uint32_t gpu, int slot) {
    struct visit v;
    int rc = enter_slot(&v, plant, gpu, slot);
    if (rc) return rc;
    int64_t done = v.state->slots[slot].done_ns;
    visit_end(&v);
    return done;
}

/* Plant ns until `ticket` is done if nothing changes; 0 when it is. */
EXPORT int64_t wl_remaining_ns(struct plant *plant, uint32_t gpu, int slot, int64_t ticket) {
    struct visit v;
    int rc = enter_slot(&v, plant, gpu, slot);
    if (rc) return rc;
    const struct slot *s = &v.state->slots[slot];
    int64_t missing = ticket - s->done_ns;
    double ns = 0.0;
    int active = 0;
    for (int i = 0; i < SLOTS; i++) active += v.state->slots[i].live && v.state->slots[i].count;
    struct lanes lanes;
    lanes_find(v.state, &v.gpu->board, &lanes);
    double slowed = lanes.concurrent && lanes.lane[slot].share > 0.0 ? 1.0 / lanes.lane[slot].share : active;
    for (uint32_t i = 0; i < s->count && missing > 0; i++) {
        const struct segment *work = &s->queue[(s->head + i) % SEGMENTS];
        int64_t part = work->left_ns < missing ? work->left_ns : missing;
        ns += (double)part / board_speed(&v.gpu->board, v.state->f_mhz, work->boundness) * slowed;
        missing -= part;
    }
    if (missing > 0) ns = -1.0; /* never submitted */
    visit_end(&v);
    return ns < 0.0 ? WL_ARGUMENT : (int64_t)ns + (ns > 0.0);
}

/* ---- faults ---- */

static uint32_t node_flag(int kind, int64_t value) {
    if (kind == FAULT_DRIVER_MISMATCH) return FLAG_DRIVER_MISMATCH;
    if (kind == FAULT_UNPRIVILEGED) return value ? FLAG_ROOT_ONLY : FLAG_UNPRIVILEGED;
    return 0;
}

/* Odd first: clients of the load before get no answer more, and none can start, until every counter has begun anew. */
static int reload_driver(struct plant *plant) {
    atomic_store(&plant->header->driver_loads, (atomic_load(&plant->header->driver_loads) + 1) | 1);
    for (uint32_t i = 0; i < plant->header->gpu_count; i++) {
        struct visit v;
        if (visit_begin(&v, plant, i)) return WL_LOCK;
        sensor_restart_counter(visit_edit(&v));
        settings_default(visit_edit(&v), &v.gpu->board);
        health_restart(visit_edit(&v));
        visit_end(&v);
    }
    atomic_fetch_add(&plant->header->driver_loads, 1);
    return 0;
}

EXPORT int wl_fault(struct plant *plant, uint32_t gpu, int kind, const char *call, int64_t value) {
    if (kind == FAULT_DRIVER_RELOAD) return reload_driver(plant);
    uint32_t flag = node_flag(kind, value);
    if (flag) {
        atomic_fetch_or(&plant->header->flags, flag);
        return 0;
    }
    struct visit v;
    int rc = enter(&v, plant, gpu);
    if (rc) return rc;
    rc = fault_set(visit_edit(&v), &v.gpu->board, (enum fault_kind)kind, call, value) ? WL_FULL : 0;
    visit_end(&v);
    return rc;
}

/* Clear one kind, or with kind 0 everything of this GPU and of the node. */
EXPORT int wl_clear(struct plant *plant, uint32_t gpu, int kind) {
    if (!kind) atomic_store(&plant->header->flags, 0);
    if (node_flag(kind, 0)) atomic_fetch_and(&plant->header->flags, ~(node_flag(kind, 0) | node_flag(kind, 1)));
    struct visit v;
    int rc = enter(&v, plant, gpu);
    if (rc) return rc;
    fault_clear(visit_edit(&v), &v.gpu->board, (enum fault_kind)kind);
    visit_end(&v);
    return 0;
}

/* ---- truth ---- */

/* Integers and reals in the order of truth.py's Truth. */
EXPORT int wl_truth(struct plant *plant, uint32_t gpu, int64_t *integers, double *reals) {
    struct visit v;
    int rc = enter(&v, plant, gpu);
    if (rc) return rc;
    const struct gpu_state *s = v.state;
    const int64_t values[] = {
        plant->header->base_utc_ns + s->t_ms * 1000000, s->true_nj, s->sensed_nj, s->held_nj + s->tick_nj, s->unseen_nj,
        s->unseen_true_nj, s->counter_nj, s->counter_resets, s->f_mhz, s->busy_ns, s->power_cap_ns, s->reasons, s->limit_mw,
        s->lock_low_mhz, s->lock_high_mhz,
    };
    memcpy(integers, values, sizeof values);
    reals[0] = v.gpu->board.gain;
    reals[1] = v.gpu->board.offset_w;
    reals[2] = s->power_w;
    reals[3] = s->temperature_c;
    visit_end(&v);
    return (int)(sizeof values / sizeof *values);
}

/* Per slot: index, pid, live, submitted_ns, done_ns, busy_ns, active_nj, memory_b, idle_nj. Returns how many slots were ever used. */
EXPORT int wl_slots(struct plant *plant, uint32_t gpu, int64_t *out) {
    struct visit v;
    int rc = enter(&v, plant, gpu);
    if (rc) return rc;
    int count = 0;
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *s = &v.state->slots[i];
        if (!s->pid) continue;
        const int64_t row[] = {i, s->pid, s->live, s->submitted_ns, s->done_ns, s->busy_ns, s->active_nj, (int64_t)s->memory_b, s->idle_nj};
        memcpy(out + 9 * count++, row, sizeof row);
    }
    visit_end(&v);
    return count;
}
