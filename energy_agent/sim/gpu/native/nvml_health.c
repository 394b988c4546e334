/* NVML: health of a board, its links, and the profiling counters of Hopper and later (GPM). */
#include <stdlib.h>
#include <string.h>

#include "nvml_types.h"

#define BEGIN(begin) \
    struct call c; \
    nvmlReturn_t begun = begin(&c, device, __func__); \
    if (begun != NVML_SUCCESS) return begun

enum { AMPERE = 7, HOPPER = 9, BLACKWELL = 10, LOCATION_DRAM = 2, LOCATION_SRAM = 7, LOCATIONS = 8, LINK_BYTES_PER_NS = 2 };

static int held(const struct gpu_state *s, enum fault_kind kind, int64_t *value) {
    const struct fault *f = fault_find(s, kind, "");
    if (f) *value = f->value;
    return f != NULL;
}

static unsigned int pcie_generation(const struct board *b) { return b->compute_major >= 9 ? 5 : 4; }

static unsigned int pcie_width(const struct gpu_state *s) {
    int64_t width = 16;
    held(s, FAULT_PCIE_WIDTH, &width);
    return (unsigned int)width;
}

static int link_up(const struct gpu_state *s, unsigned int link) {
    int64_t down = -1;
    return !held(s, FAULT_NVLINK_DOWN, &down) || down != (int64_t)link;
}

/* ---- fields: `wide` or `narrow` takes the value ---- */

static nvmlReturn_t ecc_field(const struct call *c, unsigned int id, long long *wide) {
    const struct health *h = &c->s->health;
    switch (id) {
    case 3: case 11: *wide = (long long)h->ecc_volatile[0]; return NVML_SUCCESS;
    case 4: case 12: *wide = (long long)h->ecc_volatile[1]; return NVML_SUCCESS;
    case 5: case 22: *wide = (long long)h->ecc_aggregate[0]; return NVML_SUCCESS;
    case 6: case 23: *wide = (long long)h->ecc_aggregate[1]; return NVML_SUCCESS;
    default: /* caches and registers are told apart on boards before Ampere */
        if (c->b->architecture >= AMPERE) return NVML_NOT_SUPPORTED;
        *wide = 0;
        return NVML_SUCCESS;
    }
}

static nvmlReturn_t link_field(const struct call *c, const struct nvml_field *f, long long *wide, long long *narrow) {
    unsigned int links = (unsigned int)c->b->nvlink_links;
    int blackwell = c->b->architecture >= BLACKWELL;
    if (!links || f->scope >= links) return NVML_NOT_SUPPORTED;
    switch (f->id) {
    case 91: *narrow = links; return NVML_SUCCESS;
    case 165: *narrow = link_up(c->s, f->scope); return NVML_SUCCESS;
    case 38: case 45: case 59: case 160: /* totals of all links */
        *wide = 0;
        return blackwell ? NVML_NOT_SUPPORTED : NVML_SUCCESS;
    case 52: *wide = (long long)c->s->health.nvlink_errors; return blackwell ? NVML_NOT_SUPPORTED : NVML_SUCCESS;
    case 161: case 162: case 163: /* of the link in scope; errors are all of the first one */
        *wide = f->id == 161 && f->scope == 0 ? (long long)c->s->health.nvlink_errors : 0;
        return blackwell ? NVML_NOT_SUPPORTED : NVML_SUCCESS;
    case 208: *wide = f->scope == 0 ? (long long)c->s->health.nvlink_errors : 0; break;
    case 206: case 207: case 209: case 210: case 211: case 212: case 213: case 214: case 219: case 221: *wide = 0; break;
    case 202: case 204: *wide = c->s->busy_ns * LINK_BYTES_PER_NS; break;
    case 138: case 139:
        *wide = c->s->busy_ns * LINK_BYTES_PER_NS / 1024;
        return blackwell ? NVML_NOT_SUPPORTED : NVML_SUCCESS;
    default: return NVML_NOT_SUPPORTED;
    }
    return blackwell ? NVML_SUCCESS : NVML_NOT_SUPPORTED;
}

nvmlReturn_t health_field(const struct call *c, const struct nvml_field *f, long long *wide, long long *narrow) {
    const struct health *h = &c->s->health;
    int remaps = board_remaps_rows(c->b);
    int64_t value = 0;
    if (f->id >= 3 && f->id <= 28) return ecc_field(c, f->id, wide);
    if (f->id >= 29 && f->id <= 31) {
        *narrow = f->id == 29 ? h->retired[0] : f->id == 30 ? h->retired[1] : h->retire_pending > 0;
        return remaps ? NVML_NOT_SUPPORTED : NVML_SUCCESS;
    }
    if (f->id >= 142 && f->id <= 145) {
        if (f->id == 142) *narrow = h->remapped[0];
        else if (f->id == 143) *narrow = h->remapped[1];
        else if (f->id == 144) *narrow = h->remap_pending > 0;
        else *narrow = held(c->s, FAULT_ROW_REMAP_FAILURE, &value);
        return remaps ? NVML_SUCCESS : NVML_NOT_SUPPORTED;
    }
    if (f->id == 169 || (f->id >= 173 && f->id <= 183)) {
        *narrow = 0;
        return c->b->architecture >= HOPPER ? NVML_SUCCESS : NVML_NOT_SUPPORTED;
    }
    switch (f->id) {
    case 1: case 2: *narrow = 1; return NVML_SUCCESS; /* ECC mode */
    case 94: *narrow = (long long)h->pcie_replays; return NVML_SUCCESS;
    case 197: case 198:
        *wide = c->s->busy_ns * LINK_BYTES_PER_NS;
        return c->b->architecture >= HOPPER ? NVML_SUCCESS : NVML_NOT_SUPPORTED;
    case 230:
        held(c->s, FAULT_RECOVERY_ACTION, &value);
        *narrow = value;
        return NVML_SUCCESS;
    default: return link_field(c, f, wide, narrow);
    }
}

/* ---- calls ---- */

#define READING(function, value) \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned int *out) { \
        if (!out) return NVML_INVALID_ARGUMENT; \
        BEGIN(call_begin); \
        *out = (unsigned int)(value); \
        return call_end(&c, NVML_SUCCESS); \
    }
READING(nvmlDeviceGetCurrPcieLinkGeneration, pcie_generation(c.b))
READING(nvmlDeviceGetMaxPcieLinkGeneration, pcie_generation(c.b))
READING(nvmlDeviceGetCurrPcieLinkWidth, pcie_width(c.s))
READING(nvmlDeviceGetMaxPcieLinkWidth, 16)
READING(nvmlDeviceGetPcieReplayCounter, c.s->health.pcie_replays)

EXPORT nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    BEGIN(call_begin);
    *current = *pending = 1;
    return call_end(&c, NVML_SUCCESS);
}

static nvmlReturn_t ecc_errors(nvmlDevice_t device, unsigned int type, unsigned int counter, unsigned int location,
                               unsigned long long *count, const char *name) {
    if (type > 1 || counter > 1 || location > LOCATIONS) return NVML_INVALID_ARGUMENT;
    struct call c;
    nvmlReturn_t code = call_begin(&c, device, name);
    if (code != NVML_SUCCESS) return code;
    int sram = location == LOCATION_SRAM && c.b->architecture >= AMPERE;
    int small = location < LOCATIONS && location != LOCATION_DRAM && location != LOCATION_SRAM;
    if ((small && c.b->architecture >= AMPERE) || (location == LOCATION_SRAM && !sram)) return call_end(&c, NVML_NOT_SUPPORTED);
    *count = sram || small ? 0 : counter ? c.s->health.ecc_aggregate[type] : c.s->health.ecc_volatile[type];
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int type, unsigned int counter, unsigned long long *count) {
    return ecc_errors(device, type, counter, LOCATIONS, count, __func__);
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned int type, unsigned int counter, unsigned int location,
                                                    unsigned long long *count) {
    return location < LOCATIONS ? ecc_errors(device, type, counter, location, count, __func__) : NVML_INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected, unsigned int *uncorrected, unsigned int *pending,
                                              unsigned int *failed) {
    BEGIN(call_begin);
    int64_t value;
    if (!board_remaps_rows(c.b)) return call_end(&c, NVML_NOT_SUPPORTED);
    *corrected = c.s->health.remapped[0];
    *uncorrected = c.s->health.remapped[1];
    *pending = c.s->health.remap_pending > 0;
    *failed = held(c.s, FAULT_ROW_REMAP_FAILURE, &value) != 0;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, unsigned int *pending) {
    BEGIN(call_begin);
    if (board_remaps_rows(c.b)) return call_end(&c, NVML_NOT_SUPPORTED);
    *pending = c.s->health.retire_pending > 0;
    return call_end(&c, NVML_SUCCESS);
}

/* As the driver: the answer is what went over the link in the 20 ms that the call takes. */
EXPORT nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, unsigned int counter, unsigned int *kib_s) {
    if (counter > 1) return NVML_INVALID_ARGUMENT;
    int64_t busy_ns[2], t_ms[2];
    for (int i = 0; i < 2; i++) {
        BEGIN(call_begin);
        busy_ns[i] = c.s->busy_ns;
        t_ms[i] = c.s->t_ms;
        struct plant *plant = c.visit.plant;
        call_end(&c, NVML_SUCCESS);
        if (i == 0 && !plant->header->manual) plant_sleep_ms(plant, 20.0);
    }
    int64_t ns = (t_ms[1] - t_ms[0]) * 1000000;
    *kib_s = ns ? (unsigned int)((double)(busy_ns[1] - busy_ns[0]) / (double)ns * LINK_BYTES_PER_NS * 1e9 / 1024.0) : 0;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, unsigned int *active) {
    BEGIN(call_begin);
    if (c.b->nvlink_links == 0.0) return call_end(&c, NVML_NOT_SUPPORTED);
    if (link >= (unsigned int)c.b->nvlink_links) return call_end(&c, NVML_INVALID_ARGUMENT);
    *active = (unsigned int)link_up(c.s, link);
    return call_end(&c, NVML_SUCCESS);
}

/* ---- GPM ---- */

struct gpm_sample { int64_t t_ms, busy_ns; double tensor_ms, memory_ms; uint32_t links; };
struct gpm_support { unsigned int version, supported; };
struct gpm_metric { unsigned int id; nvmlReturn_t code; double value; const char *text[3]; };
struct gpm_get { unsigned int version, count; struct gpm_sample *first, *second; struct gpm_metric metrics[]; };

EXPORT nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, struct gpm_support *support) {
    if (support->version != 1) return NVML_VERSION_MISMATCH;
    BEGIN(call_begin);
    support->supported = c.b->architecture >= HOPPER;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlGpmSampleAlloc(struct gpm_sample **sample) {
    *sample = calloc(1, sizeof **sample);
    return *sample ? NVML_SUCCESS : NVML_MEMORY;
}

EXPORT nvmlReturn_t nvmlGpmSampleFree(struct gpm_sample *sample) {
    if (!sample) return NVML_INVALID_ARGUMENT;
    free(sample);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, struct gpm_sample *sample) {
    BEGIN(call_begin);
    if (c.b->architecture < HOPPER || mig_count(c.s) >= 0) return call_end(&c, NVML_NOT_SUPPORTED);
    const struct health *h = &c.s->health;
    *sample = (struct gpm_sample){c.s->t_ms, c.s->busy_ns, h->tensor_ms, h->memory_ms, (uint32_t)c.b->nvlink_links};
    return call_end(&c, NVML_SUCCESS);
}

/* Of one GPU instance: how long anything ran in it. What it asked of tensor cores and memory is not told apart. */
EXPORT nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int instance, struct gpm_sample *sample) {
    BEGIN(call_begin);
    if (c.b->architecture < HOPPER || mig_count(c.s) < 0) return call_end(&c, NVML_NOT_SUPPORTED);
    if (instance < 1 || (int)instance > mig_count(c.s)) return call_end(&c, NVML_INVALID_ARGUMENT);
    *sample = (struct gpm_sample){c.s->t_ms, c.s->health.instance_busy_ns[instance - 1], 0.0, 0.0, 0};
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlGpmMetricsGet(struct gpm_get *get) {
    if (get->version != 1) return NVML_VERSION_MISMATCH;
    double ms = (double)(get->second->t_ms - get->first->t_ms);
    if (ms <= 0.0) return NVML_INVALID_ARGUMENT;
    double busy = 100.0 * (double)(get->second->busy_ns - get->first->busy_ns) / 1e6 / ms;
    double tensor = 100.0 * (get->second->tensor_ms - get->first->tensor_ms) / ms;
    double memory = 100.0 * (get->second->memory_ms - get->first->memory_ms) / ms;
    double link_mib_s = busy / 100.0 * LINK_BYTES_PER_NS * 1e9 / (1 << 20);
    for (unsigned int i = 0; i < get->count; i++) {
        struct gpm_metric *m = &get->metrics[i];
        m->code = NVML_SUCCESS;
        switch (m->id) {
        case 1: case 2: m->value = busy; break;
        case 3: m->value = busy / 2.0; break;
        case 5: case 7: m->value = tensor; break;
        case 10: m->value = memory; break;
        case 4: case 11: case 12: case 13: m->value = 0.0; break; /* all compute is the tensor cores' */
        case 20: case 21: m->value = link_mib_s; break;
        case 60: case 61: m->value = link_mib_s * get->first->links; break;
        default: m->code = NVML_NOT_SUPPORTED;
        }
    }
    return NVML_SUCCESS;
}
