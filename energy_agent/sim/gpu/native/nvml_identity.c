/* NVML: which devices there are and what they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "nvml_types.h"

static nvmlReturn_t put_text(char *out, unsigned int length, const char *text) {
    if (!out) return NVML_INVALID_ARGUMENT;
    if (strlen(text) >= length) return NVML_INSUFFICIENT_SIZE;
    memcpy(out, text, strlen(text) + 1);
    return NVML_SUCCESS;
}

/* ---- system ---- */

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    return node_plant() ? put_text(version, length, node_plant()->header->driver) : NVML_UNINITIALIZED;
}

EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
    return node_plant() ? put_text(version, length, "13.580.65.06") : NVML_UNINITIALIZED;
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    if (!version) return NVML_INVALID_ARGUMENT;
    *version = 13000;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) { return nvmlSystemGetCudaDriverVersion(version); }

EXPORT nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length) {
    char path[64], text[1024] = "";
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    FILE *file = fopen(path, "re");
    if (!file) return NVML_NOT_FOUND;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    if (!n) return NVML_NOT_FOUND;
    return put_text(name, length, text);
}

/* ---- handles ---- */

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    if (!node_plant()) return NVML_UNINITIALIZED;
    if (!count) return NVML_INVALID_ARGUMENT;
    *count = node_plant()->header->gpu_count;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCount(unsigned int *count) { return nvmlDeviceGetCount_v2(count); }

static nvmlReturn_t open_handle(uint32_t gpu, nvmlDevice_t *device, const char *name) {
    struct call c;
    nvmlReturn_t code = call_begin(&c, node_handle(gpu, -1), name);
    if (code != NVML_SUCCESS) return code;
    *device = node_handle(gpu, -1);
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (!node_plant()) return NVML_UNINITIALIZED;
    if (!device || index >= node_plant()->header->gpu_count) return NVML_INVALID_ARGUMENT;
    return open_handle(index, device, "nvmlDeviceGetHandleByIndex_v2");
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device) {
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

/* Another size at the same place is another device. */
static void mig_uuid(const struct board *b, int mig, int size, char *out, size_t length) {
    snprintf(out, length, "MIG-%.8s-%04x%s", b->uuid + 4, (unsigned int)((size - 1) << 8 | (mig + 1)), b->uuid + 4 + 13);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    struct plant *plant = node_plant();
    if (!plant) return NVML_UNINITIALIZED;
    if (!uuid || !device) return NVML_INVALID_ARGUMENT;
    for (uint32_t i = 0; i < plant->header->gpu_count; i++) {
        const struct board *b = &plant_gpu(plant, i)->board;
        if (strcmp(uuid, b->uuid) == 0) return open_handle(i, device, "nvmlDeviceGetHandleByUUID");
        for (int place = 0; place < MIG_MAX * 4; place++) {
            int m = place % MIG_MAX, size = place / MIG_MAX + 1;
            char text[96];
            mig_uuid(b, m, size, text, sizeof text);
            if (strcmp(uuid, text) != 0) continue;
            struct call c;
            nvmlReturn_t code = call_begin_any(&c, node_handle(i, m), "nvmlDeviceGetHandleByUUID");
            if (code != NVML_SUCCESS) return code == NVML_INVALID_ARGUMENT ? NVML_NOT_FOUND : code;
            if (mig_size(c.s, m) != size) return call_end(&c, NVML_NOT_FOUND);
            *device = node_handle(i, m);
            return call_end(&c, NVML_SUCCESS);
        }
    }
    return NVML_NOT_FOUND;
}

static void bus_id(uint32_t gpu, char *out, size_t length) { snprintf(out, length, "00000000:%02X:00.0", 0x0f + gpu * 8); }

EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *device) {
    struct plant *plant = node_plant();
    if (!plant) return NVML_UNINITIALIZED;
    if (!id || !device) return NVML_INVALID_ARGUMENT;
    for (uint32_t i = 0; i < plant->header->gpu_count; i++) {
        char text[32];
        bus_id(i, text, sizeof text); /* with a domain of eight digits, of four, or without */
        if (strcasecmp(id, text) == 0 || strcasecmp(id, text + 4) == 0 || strcasecmp(id, text + 9) == 0)
            return open_handle(i, device, "nvmlDeviceGetHandleByPciBusId_v2");
    }
    return NVML_NOT_FOUND;
}

/* ---- one device ---- */

#define BEGIN(begin) \
    struct call c; \
    nvmlReturn_t begun = begin(&c, device, __func__); \
    if (begun != NVML_SUCCESS) return begun

EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index) {
    BEGIN(call_begin_any);
    *index = c.mig < 0 ? c.gpu : (unsigned int)c.mig;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    BEGIN(call_begin_any);
    char text[160];
    int size = mig_size(c.s, c.mig);
    if (c.mig < 0) snprintf(text, sizeof text, "%s", c.b->name);
    else snprintf(text, sizeof text, "%s MIG %dg.%.0fgb", c.b->name, size, c.b->memory_b * (size == 3 ? 4 : size) / MIG_SLICES / (1 << 30));
    return call_end(&c, put_text(name, length, text));
}

EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    BEGIN(call_begin_any);
    char text[96];
    if (c.mig >= 0) mig_uuid(c.b, c.mig, mig_size(c.s, c.mig), text, sizeof text);
    else snprintf(text, sizeof text, "%s", c.b->uuid);
    return call_end(&c, put_text(uuid, length, text));
}

EXPORT nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char *serial, unsigned int length) {
    BEGIN(call_begin);
    return call_end(&c, put_text(serial, length, c.b->serial));
}

EXPORT nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t device, char *version, unsigned int length) {
    BEGIN(call_begin);
    return call_end(&c, put_text(version, length, "96.00.00.00.01"));
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, struct nvml_pci *pci) {
    BEGIN(call_begin_any);
    memset(pci, 0, sizeof *pci);
    pci->bus = 0x0f + c.gpu * 8;
    pci->pci_device_id = (unsigned int)c.b->pci_device_id << 16 | 0x10de;
    pci->pci_subsystem_id = 0x10de;
    bus_id(c.gpu, pci->bus_id, sizeof pci->bus_id);
    snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "0000:%02X:00.0", pci->bus);
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, struct nvml_pci_v2 *pci) {
    struct nvml_pci full;
    nvmlReturn_t code = nvmlDeviceGetPciInfo_v3(device, &full);
    if (code != NVML_SUCCESS) return code;
    *pci = (struct nvml_pci_v2){"", full.domain, full.bus, full.device, full.pci_device_id, full.pci_subsystem_id, {0}};
    memcpy(pci->bus_id, full.bus_id_legacy, sizeof pci->bus_id);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    BEGIN(call_begin_any);
    *major = (int)c.b->compute_major;
    *minor = (int)c.b->compute_minor;
    return call_end(&c, NVML_SUCCESS);
}

/* Getters of one fixed number, which a data-centre board in its usual state answers. */
#define FIXED(function, type, value) \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, type *out) { \
        BEGIN(call_begin); \
        *out = (type)(value); \
        return call_end(&c, NVML_SUCCESS); \
    }
FIXED(nvmlDeviceGetArchitecture, unsigned int, c.b->architecture)
FIXED(nvmlDeviceGetNumGpuCores, unsigned int, c.b->cores)
FIXED(nvmlDeviceGetMinorNumber, unsigned int, c.gpu)
FIXED(nvmlDeviceGetBoardId, unsigned int, 0x100 + c.gpu)
FIXED(nvmlDeviceGetBrand, unsigned int, 14) /* NVIDIA */
FIXED(nvmlDeviceGetDisplayMode, unsigned int, 0)
FIXED(nvmlDeviceGetDisplayActive, unsigned int, 0)
FIXED(nvmlDeviceGetComputeMode, unsigned int, 0)
FIXED(nvmlDeviceGetNumFans, unsigned int, 0)
FIXED(nvmlDeviceGetMultiGpuBoard, unsigned int, 0)

/* ---- MIG ---- */

EXPORT nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
    BEGIN(call_begin);
    if (c.b->mig_capable == 0.0) return call_end(&c, NVML_NOT_SUPPORTED);
    *current = *pending = mig_count(c.s) >= 0;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count) {
    BEGIN(call_begin);
    *count = c.b->mig_capable != 0.0 ? MIG_MAX : 0;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *mig) {
    BEGIN(call_begin);
    if ((int)index >= mig_count(c.s)) return call_end(&c, NVML_NOT_FOUND);
    *mig = node_handle(c.gpu, (int)index);
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *is_mig) {
    BEGIN(call_begin_any);
    *is_mig = c.mig >= 0;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t device, nvmlDevice_t *parent) {
    BEGIN(call_begin_any);
    if (c.mig < 0) return call_end(&c, NVML_INVALID_ARGUMENT);
    *parent = node_handle(c.gpu, -1);
    return call_end(&c, NVML_SUCCESS);
}

struct nvml_attributes {
    unsigned int sms, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
    unsigned long long memory_mb;
};

/* SMs: those of the GPU in eight parts, as the maker leaves some out of every slice (14 of 108, 16 of 132). */
EXPORT nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, struct nvml_attributes *a) {
    BEGIN(call_begin_any);
    if (c.mig < 0) return call_end(&c, NVML_NOT_SUPPORTED);
    unsigned int size = (unsigned int)mig_size(c.s, c.mig);
    unsigned int sms = (unsigned int)c.b->cores / (c.b->architecture == 7.0 && c.b->compute_minor == 0.0 ? 64 : 128);
    unsigned long long memory_mb = (unsigned long long)(c.b->memory_b / MIG_SLICES) >> 20;
    *a = (struct nvml_attributes){size * ((sms + 7) / 8), size, 0, 0, 0, 0, size, size, memory_mb * (size == 3 ? 4 : size)};
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id) {
    BEGIN(call_begin_any);
    if (c.mig < 0) return call_end(&c, NVML_NOT_SUPPORTED);
    *id = (unsigned int)c.mig + 1;
    return call_end(&c, NVML_SUCCESS);
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *id) {
    BEGIN(call_begin_any);
    if (c.mig < 0) return call_end(&c, NVML_NOT_SUPPORTED);
    *id = 0;
    return call_end(&c, NVML_SUCCESS);
}
