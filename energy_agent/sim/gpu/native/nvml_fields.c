/* NVML: field values, each with its own return code. Only ids up to 250: later ones were renumbered between driver branches. */
#include <stdio.h>

#include "nvml_types.h"

enum {
    FIELD_POWER_CAP_NS = 74, FIELD_THERMAL_NS = 75, FIELD_SYNC_BOOST_NS = 76, FIELD_MEMORY_TEMPERATURE = 82, FIELD_ENERGY = 83,
    FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, FIELD_LIMIT_MIN = 187, FIELD_LIMIT_MAX = 188, FIELD_LIMIT_DEFAULT = 189,
    FIELD_LIMIT_CURRENT = 190, FIELD_ENERGY_AGAIN = 191, FIELD_LIMIT_REQUESTED = 192
};

static nvmlReturn_t read_field(const struct call *c, struct nvml_field *f) {
    const struct gpu_state *s = c->s;
    const struct board *b = c->b;
    long long wide = -1, narrow = -1;
    switch (f->id) {
    case FIELD_POWER_CAP_NS: wide = s->power_cap_ns; break;
    case FIELD_THERMAL_NS: wide = s->thermal_ns; break;
    case FIELD_SYNC_BOOST_NS: wide = 0; break;
    case FIELD_ENERGY:
    case FIELD_ENERGY_AGAIN:
        if (b->has_counter == 0.0) return NVML_NOT_SUPPORTED;
        wide = s->counter_nj / 1000000;
        break;
    case FIELD_MEMORY_TEMPERATURE:
        if (b->has_memory_temperature == 0.0) return NVML_NOT_SUPPORTED;
        narrow = (long long)(s->temperature_c + b->memory_offset_k + 0.5);
        break;
    case FIELD_POWER_AVERAGE:
        if (b->has_average == 0.0 || f->scope) return NVML_NOT_SUPPORTED;
        narrow = sensor_average_mw(s, b);
        break;
    case FIELD_POWER_INSTANT:
        if (b->has_instant == 0.0 || f->scope > 1 || (f->scope && b->module_w == 0.0)) return NVML_NOT_SUPPORTED;
        narrow = sensor_instant_mw(s, b) + (f->scope ? (long long)(b->module_w * 1000.0) : 0);
        break;
    case FIELD_LIMIT_MIN: narrow = (long long)(b->limit_min_w * 1000.0); break;
    case FIELD_LIMIT_MAX: narrow = (long long)(b->limit_max_w * 1000.0); break;
    case FIELD_LIMIT_DEFAULT: narrow = (long long)(b->limit_default_w * 1000.0); break;
    case FIELD_LIMIT_CURRENT: narrow = s->limit_mw; break;
    case FIELD_LIMIT_REQUESTED: narrow = s->next_limit_mw; break;
    default: {
        nvmlReturn_t code = health_field(c, f, &wide, &narrow);
        if (code != NVML_SUCCESS) return code;
    }
    }
    if (wide >= 0) {
        f->value_type = NVML_VALUE_ULL;
        f->value.ull = (unsigned long long)wide;
    } else {
        f->value_type = NVML_VALUE_UINT;
        f->value.ull = 0;
        f->value.ui = (unsigned int)narrow;
    }
    return NVML_SUCCESS;
}

/* A fault may name one field by its number: not_supported or no_permission. */
static nvmlReturn_t field_fault(const struct gpu_state *s, unsigned int id) {
    char name[16];
    if (!s->fault_count) return NVML_SUCCESS;
    snprintf(name, sizeof name, "%u", id);
    if (fault_find(s, FAULT_NOT_SUPPORTED, name)) return NVML_NOT_SUPPORTED;
    if (fault_find(s, FAULT_NO_PERMISSION, name)) return NVML_NO_PERMISSION;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, struct nvml_field *fields) {
    if (count < 1 || !fields) return NVML_INVALID_ARGUMENT;
    struct call c;
    nvmlReturn_t code = call_begin(&c, device, __func__);
    if (code != NVML_SUCCESS) return code;
    long long now_us = plant_now_ns(c.visit.plant) / 1000;
    for (int i = 0; i < count; i++) {
        fields[i].timestamp_us = now_us;
        fields[i].latency_us = 0;
        fields[i].code = field_fault(c.s, fields[i].id);
        if (fields[i].code == NVML_SUCCESS) fields[i].code = read_field(&c, &fields[i]);
    }
    return call_end(&c, NVML_SUCCESS);
}
