/* Faults that are set and cleared while the node runs, and what a driver reset does to a GPU. */
#include <string.h>

#include "plant.h"

/* `name` without a version means every version of the call: nvmlDeviceGetCount also strikes nvmlDeviceGetCount_v2. */
static int names_call(const char *name, const char *call) {
    size_t length = strlen(name);
    if (strncmp(name, call, length) != 0) return 0;
    return !call[length] || (length && call[length] == '_' && call[length + 1] == 'v');
}

const struct fault *fault_find(const struct gpu_state *s, enum fault_kind kind, const char *call) {
    for (uint32_t i = 0; i < s->fault_count; i++) {
        const struct fault *f = &s->faults[i];
        if (f->kind == (uint32_t)kind && (!f->call[0] || names_call(f->call, call))) return f;
    }
    return NULL;
}

void settings_default(struct gpu_state *s, const struct board *b) {
    s->limit_mw = s->next_limit_mw = (int64_t)(b->limit_default_w * 1000.0);
    s->lock_low_mhz = s->lock_high_mhz = s->next_low_mhz = s->next_high_mhz = 0;
    s->settings_at_ms = -1;
    s->persistence = 1;
}

/* The process is gone: its kernels stop; its figures stay readable until the slot is needed again. */
void slot_end(struct gpu_state *s, struct slot *slot) {
    slot->live = 0;
    slot->count = 0;
    slot->memory_b = 0;
    slot->sm_percent = slot->memory_percent = 0;
    slot->ended_ms = s->t_ms;
}

static void push_xid(struct gpu_state *s, uint64_t code) {
    struct xid *event = &s->xids[s->xid_count++ % XIDS];
    event->code = code;
    event->t_ms = s->t_ms;
}

static void lose(struct gpu_state *s) {
    s->unseen_nj += s->held_nj + s->tick_nj;
    s->unseen_true_nj += s->held_true_nj + s->tick_true_nj;
    s->held_nj = s->held_true_nj = s->tick_nj = s->tick_true_nj = s->window_nj = 0;
    s->counter_clock.began_ms = s->t_ms;
    for (int i = 0; i < SLOTS; i++)
        if (s->slots[i].live) slot_end(s, &s->slots[i]);
    push_xid(s, 79); /* "GPU has fallen off the bus" */
}

static void remove_fault(struct gpu_state *s, const struct board *b, uint32_t index) {
    struct fault gone = s->faults[index];
    s->faults[index] = s->faults[--s->fault_count];
    if (gone.kind == FAULT_LOST) {
        sensor_restart_counter(s);
        settings_default(s, b);
        health_restart(s);
    } else if (gone.kind == FAULT_STUCK_SENSOR) {
        sensor_release(s, gone.value == 0);
    } else if (gone.kind == FAULT_AMBIENT) {
        s->ambient_c = b->ambient_c;
    }
}

/* 0, or -1 when no more faults fit. The same fault set twice is one, with the later value. */
int fault_set(struct gpu_state *s, const struct board *b, enum fault_kind kind, const char *call, int64_t value) {
    if (kind == FAULT_COUNTER_RESET) {
        sensor_restart_counter(s);
        return 0;
    }
    if (kind == FAULT_XID) {
        push_xid(s, (uint64_t)value);
        return 0;
    }
    if (health_fault(s, b, kind, value)) return 0;
    struct fault *f = NULL;
    for (uint32_t i = 0; i < s->fault_count; i++)
        if (s->faults[i].kind == (uint32_t)kind && strcmp(s->faults[i].call, call) == 0) f = &s->faults[i];
    if (!f) {
        if (s->fault_count == FAULTS) return -1;
        if (kind == FAULT_LOST) lose(s);
        if (kind == FAULT_STUCK_SENSOR) sensor_freeze(s, b);
        f = &s->faults[s->fault_count++];
    }
    f->kind = kind;
    f->value = value;
    strncpy(f->call, call, CALL_NAME - 1);
    f->call[CALL_NAME - 1] = 0;
    if (kind == FAULT_AMBIENT) s->ambient_c = (double)value;
    return 0;
}

/* Clear one kind of fault, or with FAULT_NONE all. */
void fault_clear(struct gpu_state *s, const struct board *b, enum fault_kind kind) {
    for (uint32_t i = s->fault_count; i-- > 0;)
        if (kind == FAULT_NONE || s->faults[i].kind == (uint32_t)kind) remove_fault(s, b, i);
}
