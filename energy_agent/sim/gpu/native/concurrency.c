/* Who runs where, for GPUs whose processes do not take turns: MIG instances, and clients of MPS.
 *
 * A slot with work has a share of the SMs. Its work goes on at that share of the GPU's speed, and asks that share of the dynamic
 * power. The true energy of a slot is the dynamic power that its own work asks, and of the static power the share of the SMs
 * that is its own: of its instance (shared with what else runs there), or under MPS of all that run.
 */
#include "plant.h"

/* The value of the fault says what instances there are: up to 7 how many 1g, above that a size (1 to 4) a digit, so 321 is 3g,
 * 2g and 1g. What does not fit into seven slices is left out.
 */
static int layout(const struct gpu_state *s, int sizes[MIG_MAX]) {
    const struct fault *f = fault_find(s, FAULT_MIG, "");
    if (!f) return -1;
    int n = 0, used = 0;
    if (f->value <= MIG_MAX) {
        for (; n < f->value; n++) sizes[n] = 1;
        return n;
    }
    int64_t place = 1;
    while (place <= f->value / 10) place *= 10;
    for (; place > 0; place /= 10) {
        int size = (int)(f->value / place % 10);
        if (size < 1 || size > 4 || used + size > MIG_MAX) continue;
        sizes[n++] = size;
        used += size;
    }
    return n;
}

int mig_count(const struct gpu_state *s) {
    int sizes[MIG_MAX];
    return layout(s, sizes);
}

int mig_size(const struct gpu_state *s, int instance) {
    int sizes[MIG_MAX];
    int n = layout(s, sizes);
    return instance < n && instance >= 0 ? sizes[instance] : 1;
}

int mig_of(const struct gpu_state *s, int slot) {
    int n = mig_count(s);
    return n > 0 ? slot % n : -1;
}

static int works(const struct slot *slot) { return slot->live && slot->count; }

static void shares_of_instances(const struct gpu_state *s, struct lanes *l) {
    int sizes[MIG_MAX], active[MIG_MAX] = {0};
    int n = layout(s, sizes);
    for (int i = 0; i < SLOTS && n > 0; i++)
        if (works(&s->slots[i])) active[i % n]++;
    for (int i = 0; i < SLOTS && n > 0; i++) {
        if (!works(&s->slots[i])) continue;
        l->lane[i].share = l->lane[i].static_x = (double)sizes[i % n] / MIG_MAX / active[i % n];
    }
}

/* Each client may use `percent` of the SMs; where all of them together want more than there are, they get less alike. */
static void shares_of_clients(const struct gpu_state *s, double percent, struct lanes *l) {
    int active = 0;
    for (int i = 0; i < SLOTS; i++) active += works(&s->slots[i]);
    double share = percent / 100.0;
    if (share * active > 1.0) share = 1.0 / active;
    for (int i = 0; i < SLOTS; i++) {
        if (!works(&s->slots[i])) continue;
        l->lane[i].share = share;
        l->lane[i].static_x = 1.0 / active;
    }
}

void lanes_find(const struct gpu_state *s, const struct board *b, struct lanes *l) {
    *l = (struct lanes){0};
    const struct fault *mps = fault_find(s, FAULT_MPS, "");
    if (mig_count(s) > 0) shares_of_instances(s, l);
    else if (mps) shares_of_clients(s, mps->value < 1 ? 100.0 : mps->value > 100 ? 100.0 : (double)mps->value, l);
    else return;
    l->concurrent = 1;
    double static_w = board_power(b, s->temperature_c, s->f_mhz, 0.0, 0.0), sum_w = 0.0;
    for (int i = 0; i < SLOTS; i++) {
        double share = l->lane[i].share;
        if (share <= 0.0) continue;
        const struct segment *work = &s->slots[i].queue[s->slots[i].head];
        l->used += share;
        l->boundness += share * work->boundness;
        l->intensity += share * work->intensity;
        l->lane[i].dynamic_x = board_power(b, s->temperature_c, s->f_mhz, work->boundness, share * work->intensity) - static_w;
        sum_w += l->lane[i].dynamic_x;
    }
    if (l->used > 0.0) l->boundness /= l->used;
    for (int i = 0; i < SLOTS; i++) l->lane[i].dynamic_x = sum_w > 0.0 ? l->lane[i].dynamic_x / sum_w : 0.0;
}

/* What was drawn where nothing ran belongs to who holds it: of an instance the static power of its slices (all that is drawn,
 * while nothing runs on the whole GPU), else everything while nothing runs. Holders of the same have equal parts.
 */
void lanes_rest(struct gpu_state *s, const struct board *b, int64_t ms, int64_t true_nj) {
    int active = 0, live[MIG_MAX + 1] = {0}, busy[MIG_MAX + 1] = {0}, n = mig_count(s);
    for (int i = 0; i < SLOTS; i++) {
        int at = n > 0 ? i % n : 0;
        live[at] += s->slots[i].live != 0;
        busy[at] += works(&s->slots[i]);
        active += works(&s->slots[i]);
    }
    if (active && n <= 0) return;
    double rest_nj = active ? board_power(b, s->temperature_c, s->f_mhz, 0.0, 0.0) * 1e6 * (double)ms : (double)true_nj;
    for (int i = 0; i < SLOTS; i++) {
        int at = n > 0 ? i % n : 0;
        if (!s->slots[i].live || busy[at]) continue;
        double part = n > 0 ? (double)mig_size(s, at) / MIG_MAX : 1.0;
        s->slots[i].idle_nj += (int64_t)(rest_nj * part / live[at]);
    }
}
