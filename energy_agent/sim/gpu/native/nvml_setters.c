/* NVML: the settings. A call costs `set_call_ms`; its effect comes `lock_delay_ms` later, and outlives the process. */
#include <unistd.h>

#include "nvml_types.h"

static int permitted(const struct plant *plant) {
    uint32_t flags = atomic_load(&plant->header->flags);
    if (flags & FLAG_UNPRIVILEGED) return 0;
    return !(flags & FLAG_ROOT_ONLY) || geteuid() == 0;
}

static nvmlReturn_t set_begin(struct call *c, nvmlDevice_t device, const char *name) {
    nvmlReturn_t code = call_begin(c, device, name);
    if (code == NVML_SUCCESS && !permitted(c->visit.plant)) code = call_end(c, NVML_NO_PERMISSION);
    return code;
}

/* Make room for the call's own duration: let go, wait, and pass the gate again. */
static nvmlReturn_t set_wait(struct call *c, nvmlDevice_t device, const char *name) {
    double ms = c->b->set_call_ms;
    struct plant *plant = c->visit.plant;
    call_end(c, NVML_SUCCESS);
    plant_sleep_ms(plant, ms);
    return set_begin(c, device, name);
}

static nvmlReturn_t commit(struct call *c, struct gpu_state *s) {
    s->settings_at_ms = s->t_ms + (int64_t)c->b->lock_delay_ms;
    return call_end(c, NVML_SUCCESS);
}

static nvmlReturn_t set_limit(nvmlDevice_t device, unsigned int limit_mw, const char *name) {
    struct call c;
    nvmlReturn_t code = set_begin(&c, device, name);
    if (code != NVML_SUCCESS) return code;
    if (limit_mw < c.b->limit_min_w * 1000.0 || limit_mw > c.b->limit_max_w * 1000.0) return call_end(&c, NVML_INVALID_ARGUMENT);
    if ((code = set_wait(&c, device, name)) != NVML_SUCCESS) return code;
    struct gpu_state *s = visit_edit(&c.visit);
    s->next_limit_mw = limit_mw;
    return commit(&c, s);
}

EXPORT nvmlReturn_t nvmlDeviceSetPowerManagementLimit(nvmlDevice_t device, unsigned int limit_mw) {
    return set_limit(device, limit_mw, __func__);
}

EXPORT nvmlReturn_t nvmlDeviceSetPowerManagementLimit_v2(nvmlDevice_t device, const struct nvml_power_value *value) {
    if (value->version != (sizeof *value | 2u << 24)) return NVML_VERSION_MISMATCH;
    if (value->scope != 0) return NVML_NOT_SUPPORTED;
    return set_limit(device, value->value_mw, __func__);
}

/* The clock of the SKU's grid at or below `mhz`, within its range. */
static int32_t on_grid(const struct board *b, unsigned int mhz) {
    if (mhz >= b->f_max_mhz) return (int32_t)b->f_max_mhz;
    if (mhz <= b->f_min_mhz) return (int32_t)b->f_min_mhz;
    unsigned int low = (unsigned int)b->f_min_mhz, step = (unsigned int)b->f_step_mhz;
    return (int32_t)(low + (mhz - low) / step * step);
}

EXPORT nvmlReturn_t nvmlDeviceSetGpuLockedClocks(nvmlDevice_t device, unsigned int low, unsigned int high) {
    struct call c;
    nvmlReturn_t code = set_begin(&c, device, __func__);
    if (code != NVML_SUCCESS) return code;
    if (low > high || high < c.b->f_min_mhz || low > c.b->f_max_mhz) return call_end(&c, NVML_INVALID_ARGUMENT);
    if ((code = set_wait(&c, device, __func__)) != NVML_SUCCESS) return code;
    struct gpu_state *s = visit_edit(&c.visit);
    s->next_low_mhz = on_grid(c.b, low);
    s->next_high_mhz = on_grid(c.b, high);
    return commit(&c, s);
}

EXPORT nvmlReturn_t nvmlDeviceResetGpuLockedClocks(nvmlDevice_t device) {
    struct call c;
    nvmlReturn_t code = set_begin(&c, device, __func__);
    if (code != NVML_SUCCESS) return code;
    if ((code = set_wait(&c, device, __func__)) != NVML_SUCCESS) return code;
    struct gpu_state *s = visit_edit(&c.visit);
    s->next_low_mhz = s->next_high_mhz = 0;
    return commit(&c, s);
}

EXPORT nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlDevice_t device, unsigned int mode) {
    struct call c;
    nvmlReturn_t code = set_begin(&c, device, __func__);
    if (code != NVML_SUCCESS) return code;
    if (mode > 1) return call_end(&c, NVML_INVALID_ARGUMENT);
    visit_edit(&c.visit)->persistence = mode;
    return call_end(&c, NVML_SUCCESS);
}
