/* NVML: what a device's sensors and settings read now. */
#include <stdio.h>
#include <string.h>

#include "nvml_types.h"

#define BEGIN(begin) \
    struct call c; \
    nvmlReturn_t begun = begin(&c, device, __func__); \
    if (begun != NVML_SUCCESS) return begun

#define READING(function, type, value) \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, type *out) { \
        if (!out) return NVML_INVALID_ARGUMENT; \
        BEGIN(call_begin); \
        *out = (type)(value); \
        return call_end(&c, NVML_SUCCESS); \
    }

static int64_t usage_mw(const struct call *c) {
    return c->b->usage_is_average != 0.0 ? sensor_average_mw(c->s, c->b) : sensor_instant_mw(c->s, c->b);
}

READING(nvmlDeviceGetPowerUsage, unsigned int, usage_mw(&c))
READING(nvmlDeviceGetPowerManagementLimit, unsigned int, c.s->next_limit_mw)
READING(nvmlDeviceGetEnforcedPowerLimit, unsigned int, c.s->limit_mw)
READING(nvmlDeviceGetPowerManagementDefaultLimit, unsigned int, c.b->limit_default_w * 1000.0)
READING(nvmlDeviceGetPowerManagementMode, unsigned int, 1)
READING(nvmlDeviceGetPersistenceMode, unsigned int, c.s->persistence)
READING(nvmlDeviceGetPerformanceState, unsigned int, 0)
READING(nvmlDeviceGetPowerState, unsigned int, 0)
READING(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, c.s->reasons)
READING(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, c.s->reasons)
READING(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, 0x1ff)
READING(nvmlDeviceGetSupportedClocksThrottleReasons, unsigned long long, 0x1ff)

EXPORT nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *mj) {
    if (!mj) return NVML_INVALID_ARGUMENT;
    BEGIN(call_begin);
    if (c.b->has_counter == 0.0) return call_end(&c, NVML_NOT_SUPPORTED);
    *mj = (unsigned long long)(c.s->counter_nj / 1000000);
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *low, unsigned int *high) {
    BEGIN(call_begin);
    *low = (unsigned int)(c.b->limit_min_w * 1000.0);
    *high = (unsigned int)(c.b->limit_max_w * 1000.0);
    return call_end(&c, NVML_SUCCESS);
}

/* ---- clocks ---- */

static nvmlReturn_t clock_now(const struct call *c, unsigned int type, unsigned int *mhz) {
    if (type > NVML_CLOCK_VIDEO) return NVML_INVALID_ARGUMENT;
    *mhz = type == NVML_CLOCK_MEM ? (unsigned int)c->b->memory_mhz : (unsigned int)c->s->f_mhz;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *mhz) {
    BEGIN(call_begin);
    return call_end(&c, clock_now(&c, type, mhz));
}

/* `id` 0: the current clock; application and customer clocks are not kept. */
EXPORT nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, unsigned int type, unsigned int id, unsigned int *mhz) {
    BEGIN(call_begin);
    return call_end(&c, id == 0 ? clock_now(&c, type, mhz) : NVML_NOT_SUPPORTED);
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *mhz) {
    if (type > NVML_CLOCK_VIDEO) return NVML_INVALID_ARGUMENT;
    BEGIN(call_begin);
    *mhz = (unsigned int)(type == NVML_CLOCK_MEM ? c.b->memory_mhz : c.b->f_max_mhz);
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned int *count, unsigned int *clocks) {
    BEGIN(call_begin);
    nvmlReturn_t code = clocks && *count >= 1 ? NVML_SUCCESS : NVML_INSUFFICIENT_SIZE;
    if (code == NVML_SUCCESS) clocks[0] = (unsigned int)c.b->memory_mhz;
    *count = 1;
    return call_end(&c, code);
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned int memory, unsigned int *count, unsigned int *clocks) {
    BEGIN(call_begin);
    if (memory != (unsigned int)c.b->memory_mhz) return call_end(&c, NVML_NOT_FOUND);
    unsigned int low = (unsigned int)c.b->f_min_mhz, high = (unsigned int)c.b->f_max_mhz, step = (unsigned int)c.b->f_step_mhz;
    unsigned int n = (high - low) / step + 1, room = *count;
    *count = n;
    if (!clocks || room < n) return call_end(&c, NVML_INSUFFICIENT_SIZE);
    for (unsigned int i = 0; i < n; i++) clocks[i] = high - i * step;
    return call_end(&c, NVML_SUCCESS);
}

/* ---- temperature ---- */

EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *celsius) {
    if (sensor != 0) return NVML_INVALID_ARGUMENT;
    BEGIN(call_begin);
    *celsius = (unsigned int)(c.s->temperature_c + 0.5);
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, struct nvml_temperature *t) {
    if (t->version != (sizeof *t | 1u << 24)) return NVML_VERSION_MISMATCH;
    if (t->sensor != 0) return NVML_INVALID_ARGUMENT;
    BEGIN(call_begin);
    t->temperature = (int)(c.s->temperature_c + 0.5);
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, unsigned int threshold, unsigned int *celsius) {
    BEGIN(call_begin);
    if (threshold > 1) return call_end(&c, NVML_NOT_SUPPORTED);
    *celsius = (unsigned int)c.b->slowdown_c + (threshold == 0 ? 5 : 0); /* 0 shutdown, 1 slowdown */
    return call_end(&c, NVML_SUCCESS);
}

/* ---- utilisation and memory ---- */

EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, struct nvml_utilization *utilization) {
    BEGIN(call_begin);
    if (mig_count(c.s) >= 0) return call_end(&c, NVML_NOT_SUPPORTED);
    utilization->gpu = c.s->gpu_percent;
    utilization->memory = c.s->memory_percent;
    return call_end(&c, NVML_SUCCESS);
}

static nvmlReturn_t engine(nvmlDevice_t device, unsigned int *percent, unsigned int *period_us, const char *name) {
    struct call c;
    nvmlReturn_t code = call_begin(&c, device, name);
    if (code != NVML_SUCCESS) return code;
    if (mig_count(c.s) >= 0) return call_end(&c, NVML_NOT_SUPPORTED);
    *percent = 0; /* the plant has no video engines at work */
    *period_us = (unsigned int)c.b->utilization_period_ms * 1000;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *percent, unsigned int *period_us) {
    return engine(device, percent, period_us, __func__);
}

EXPORT nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *percent, unsigned int *period_us) {
    return engine(device, percent, period_us, __func__);
}

static struct nvml_memory_v2 memory_now(const struct call *c) {
    struct nvml_memory_v2 m = {0, (unsigned long long)c->b->memory_b, 600ull << 20, 0, 0};
    int parts = c->mig < 0 ? 1 : MIG_MAX;
    unsigned int size = c->mig < 0 ? 1 : (unsigned int)mig_size(c->s, c->mig);
    m.total = m.total / (unsigned int)parts * size;
    m.reserved = m.reserved / (unsigned int)parts * size;
    for (int i = 0; i < SLOTS; i++)
        if (c->s->slots[i].live && (c->mig < 0 || mig_of(c->s, i) == c->mig)) m.used += c->s->slots[i].memory_b;
    if (m.used > m.total - m.reserved) m.used = m.total - m.reserved;
    m.free = m.total - m.reserved - m.used;
    return m;
}

/* Version 1 counts what the driver keeps as used. */
EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, struct nvml_memory *memory) {
    BEGIN(call_begin_any);
    struct nvml_memory_v2 m = memory_now(&c);
    *memory = (struct nvml_memory){m.total, m.free, m.used + m.reserved};
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, struct nvml_memory_v2 *memory) {
    if (memory->version != (sizeof *memory | 2u << 24)) return NVML_VERSION_MISMATCH;
    BEGIN(call_begin_any);
    struct nvml_memory_v2 m = memory_now(&c);
    m.version = memory->version;
    *memory = m;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, struct nvml_memory *bar1) { /* total, free, used */
    BEGIN(call_begin_any);
    unsigned long long total = (unsigned long long)c.b->memory_b, used = 4ull << 20;
    *bar1 = (struct nvml_memory){total, total - used, used};
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetC2cModeInfoV(nvmlDevice_t device, unsigned int *enabled) {
    BEGIN(call_begin);
    if (c.b->compute_major < 9.0) return call_end(&c, NVML_NOT_SUPPORTED);
    *enabled = 0;
    return call_end(&c, NVML_SUCCESS);
}
