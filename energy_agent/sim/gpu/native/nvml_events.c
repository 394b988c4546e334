/* NVML: event sets. A set sees the XIDs that come after its registration, a lost device's last one too. */
#include <stdlib.h>
#include <time.h>

#include "nvml_types.h"

struct event_set {
    struct plant *plant;
    uint64_t seen[PLANT_GPUS];
    char registered[PLANT_GPUS];
};

EXPORT nvmlReturn_t nvmlEventSetCreate(struct event_set **set) {
    if (!node_plant()) return NVML_UNINITIALIZED;
    if (!set) return NVML_INVALID_ARGUMENT;
    *set = calloc(1, sizeof **set);
    if (!*set) return NVML_MEMORY;
    (*set)->plant = node_plant();
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlEventSetFree(struct event_set *set) {
    free(set);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types) {
    struct call c;
    nvmlReturn_t code = call_begin(&c, device, __func__);
    if (code != NVML_SUCCESS) return code;
    *types = NVML_EVENT_XID;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, struct event_set *set) {
    if (!set) return NVML_INVALID_ARGUMENT;
    struct call c;
    nvmlReturn_t code = call_begin(&c, device, __func__);
    if (code != NVML_SUCCESS) return code;
    if (types & ~(unsigned long long)NVML_EVENT_XID) return call_end(&c, NVML_NOT_SUPPORTED);
    set->registered[c.gpu] = types != 0;
    set->seen[c.gpu] = c.s->xid_count;
    return call_end(&c, NVML_SUCCESS);
}

/* The oldest event that the set has not seen; events that the ring no longer holds are skipped. */
static int take(struct event_set *set, struct nvml_event *event) {
    for (uint32_t i = 0; i < set->plant->header->gpu_count; i++) {
        struct visit v;
        if (!set->registered[i] || visit_begin(&v, set->plant, i)) continue;
        uint64_t count = v.state->xid_count;
        if (count - set->seen[i] > XIDS) set->seen[i] = count - XIDS;
        int found = set->seen[i] < count;
        if (found)
            *event = (struct nvml_event){node_handle(i, -1), NVML_EVENT_XID, v.state->xids[set->seen[i]++ % XIDS].code,
                                         NVML_NO_INSTANCE, NVML_NO_INSTANCE};
        visit_end(&v);
        if (found) return 1;
    }
    return 0;
}

EXPORT nvmlReturn_t nvmlEventSetWait_v2(struct event_set *set, struct nvml_event *event, unsigned int timeout_ms) {
    if (!set || !event) return NVML_INVALID_ARGUMENT;
    int64_t end = boot_now_ns() + (int64_t)timeout_ms * 1000000;
    while (!take(set, event)) {
        if (boot_now_ns() >= end) return NVML_TIMEOUT;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlEventSetWait(struct event_set *set, struct nvml_event_v1 *event, unsigned int timeout_ms) {
    struct nvml_event full;
    nvmlReturn_t code = nvmlEventSetWait_v2(set, &full, timeout_ms);
    if (code == NVML_SUCCESS) *event = (struct nvml_event_v1){full.device, full.type, full.data};
    return code;
}
