/* The part of NVML's binary interface that the simulated library answers. Layouts, numbers and names are facts of the interface
 * that NVIDIA's nvml.h defines; nothing else of that file is here.
 */
#ifndef WATTLENS_NVML_TYPES_H
#define WATTLENS_NVML_TYPES_H

#include "plant.h"

typedef void *nvmlDevice_t;
typedef int nvmlReturn_t;

enum {
    NVML_SUCCESS = 0, NVML_UNINITIALIZED = 1, NVML_INVALID_ARGUMENT = 2, NVML_NOT_SUPPORTED = 3, NVML_NO_PERMISSION = 4,
    NVML_NOT_FOUND = 6, NVML_INSUFFICIENT_SIZE = 7, NVML_DRIVER_NOT_LOADED = 9, NVML_TIMEOUT = 10, NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16, NVML_LIB_RM_VERSION_MISMATCH = 18, NVML_MEMORY = 20, NVML_VERSION_MISMATCH = 25,
    NVML_UNKNOWN = 999
};

enum { NVML_VALUE_UINT = 1, NVML_VALUE_ULL = 3 };
enum { NVML_CLOCK_GRAPHICS = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2, NVML_CLOCK_VIDEO = 3 };
enum { NVML_EVENT_XID = 0x8 };
#define MIG_SLICES 8 /* of memory; an instance has one */
#define NVML_NO_INSTANCE 0xFFFFFFFFu

struct nvml_memory { unsigned long long total, free, used; };
struct nvml_memory_v2 { unsigned int version; unsigned long long total, reserved, free, used; };
struct nvml_utilization { unsigned int gpu, memory; };
struct nvml_process_v1 { unsigned int pid; unsigned long long memory; };
struct nvml_process_v2 { unsigned int pid; unsigned long long memory; unsigned int gpu_instance, compute_instance; };
struct nvml_process_sample { unsigned int pid; unsigned long long timestamp; unsigned int sm, memory, encoder, decoder; };
struct nvml_pci {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};
struct nvml_pci_v2 {
    char bus_id[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id, reserved[4];
};
struct nvml_temperature { unsigned int version, sensor; int temperature; };
struct nvml_power_value { unsigned int version, scope, value_mw; };
struct nvml_event { nvmlDevice_t device; unsigned long long type, data; unsigned int gpu_instance, compute_instance; };
struct nvml_event_v1 { nvmlDevice_t device; unsigned long long type, data; };
struct nvml_field {
    unsigned int id, scope;
    long long timestamp_us, latency_us;
    unsigned int value_type;
    nvmlReturn_t code;
    union { double d; unsigned int ui; unsigned long long ull; } value;
};

/* nvml_core.c: one call on one device, from its gate to its end. */
struct call {
    struct visit visit;
    const struct gpu_state *s; /* at now; locked until call_end */
    const struct board *b;
    uint32_t gpu;
    int mig; /* index of the MIG device, or -1 for the GPU itself */
};
nvmlReturn_t call_begin(struct call *c, nvmlDevice_t device, const char *name);     /* refuses MIG devices */
nvmlReturn_t call_begin_any(struct call *c, nvmlDevice_t device, const char *name); /* accepts them */
nvmlReturn_t call_end(struct call *c, nvmlReturn_t code);
struct plant *node_plant(void);
nvmlDevice_t node_handle(uint32_t gpu, int mig);
nvmlReturn_t health_field(const struct call *c, const struct nvml_field *f, long long *wide, long long *narrow);

#endif
