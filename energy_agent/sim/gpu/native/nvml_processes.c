/* NVML: who is on a device. Dead processes are dropped before the plant is read (memory.c). */
#include "nvml_types.h"

static int belongs(const struct call *c, int index) {
    if (!c->s->slots[index].live) return 0;
    return c->mig < 0 || mig_of(c->s, index) == c->mig;
}

static unsigned int count_processes(const struct call *c) {
    unsigned int n = 0;
    for (int i = 0; i < SLOTS; i++) n += (unsigned int)belongs(c, i);
    return n;
}

static nvmlReturn_t list(nvmlDevice_t device, unsigned int *count, void *out, int version, const char *name) {
    if (!count) return NVML_INVALID_ARGUMENT;
    struct call c;
    nvmlReturn_t code = call_begin_any(&c, device, name);
    if (code != NVML_SUCCESS) return code;
    unsigned int n = count_processes(&c), room = *count;
    *count = n;
    if (n > 0 && (!out || room < n)) return call_end(&c, NVML_INSUFFICIENT_SIZE);
    int instances = mig_count(c.s);
    unsigned int at = 0;
    for (int i = 0; i < SLOTS; i++) {
        if (!belongs(&c, i)) continue;
        const struct slot *slot = &c.s->slots[i];
        if (version == 1) {
            ((struct nvml_process_v1 *)out)[at++] = (struct nvml_process_v1){(unsigned int)slot->pid, slot->memory_b};
            continue;
        }
        unsigned int instance = instances > 0 ? (unsigned int)mig_of(c.s, i) + 1 : NVML_NO_INSTANCE;
        ((struct nvml_process_v2 *)out)[at++] = (struct nvml_process_v2){
            (unsigned int)slot->pid, slot->memory_b, instance, instances > 0 ? 0 : NVML_NO_INSTANCE};
    }
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device, unsigned int *count, void *out) {
    return list(device, count, out, 1, __func__);
}
EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t device, unsigned int *count, void *out) {
    return list(device, count, out, 2, __func__);
}
EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, void *out) {
    return list(device, count, out, 3, __func__);
}

/* No graphics on a compute node. */
static nvmlReturn_t none(nvmlDevice_t device, unsigned int *count, const char *name) {
    if (!count) return NVML_INVALID_ARGUMENT;
    struct call c;
    nvmlReturn_t code = call_begin_any(&c, device, name);
    if (code != NVML_SUCCESS) return code;
    *count = 0;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t device, unsigned int *count, void *out) {
    (void)out;
    return none(device, count, __func__);
}
EXPORT nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t device, unsigned int *count, void *out) {
    (void)out;
    return none(device, count, __func__);
}
EXPORT nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, void *out) {
    (void)out;
    return none(device, count, __func__);
}

/* SM use of a slot over the periods that ended after `since_us`, mean in 1/100 %. */
static unsigned int use_since(const struct gpu_state *s, const struct slot *slot, unsigned long long since_us) {
    unsigned int sum = 0, periods = 0;
    for (int i = 0; i < USES; i++) {
        if (!s->use_us[i] || (unsigned long long)s->use_us[i] <= since_us) continue;
        sum += slot->uses[i];
        periods++;
    }
    return periods ? (sum + periods / 2) / periods : 0;
}

/* Processes that used the GPU after `since_us`, those that ended meanwhile among them: one sample each, the mean since then as
 * far back as the driver remembers.
 */
EXPORT nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, struct nvml_process_sample *out, unsigned int *count,
                                                    unsigned long long since_us) {
    if (!count) return NVML_INVALID_ARGUMENT;
    struct call c;
    nvmlReturn_t code = call_begin(&c, device, __func__);
    if (code != NVML_SUCCESS) return code;
    if (mig_count(c.s) >= 0) return call_end(&c, NVML_NOT_SUPPORTED);
    unsigned int n = 0, room = *count;
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &c.s->slots[i];
        unsigned int use = slot->pid ? use_since(c.s, slot, since_us) : 0;
        if (!use) continue;
        if (out && n < room)
            out[n] = (struct nvml_process_sample){
                (unsigned int)slot->pid, (unsigned long long)c.s->utilization_us, (use + 50) / 100, slot->memory_percent, 0, 0};
        n++;
    }
    *count = n;
    return call_end(&c, n > 0 && (!out || room < n) ? NVML_INSUFFICIENT_SIZE : NVML_SUCCESS);
}
