/* NVML: starting and ending, handles, and the gate that every call on a device passes, where faults strike. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "nvml_types.h"

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct plant *_Atomic node;
static _Atomic int users;
static _Atomic int64_t load; /* of the driver, that this process was initialised in */
static char handles[PLANT_GPUS][MIG_MAX + 1]; /* a handle is the address of its cell; column 0 is the GPU itself */

/* The mapping is kept until the process ends: a call may still hang in it when another thread shuts NVML down. */
EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    const char *folder = getenv("WATTLENS_SIM");
    char path[4096];
    if (!folder || snprintf(path, sizeof path, "%s/plant", folder) >= (int)sizeof path) return NVML_DRIVER_NOT_LOADED;
    nvmlReturn_t code = NVML_SUCCESS;
    pthread_mutex_lock(&guard);
    if (!users) {
        int error;
        struct plant *opened = plant_open(path, &error);
        if (!opened) code = NVML_DRIVER_NOT_LOADED;
        else if (atomic_load(&opened->header->flags) & FLAG_DRIVER_MISMATCH) {
            plant_close(opened);
            code = NVML_LIB_RM_VERSION_MISMATCH;
        } else if ((load = atomic_load(&opened->header->driver_loads)) & 1) {
            plant_close(opened);
            code = NVML_DRIVER_NOT_LOADED;
        } else node = opened;
    }
    if (code == NVML_SUCCESS) users++;
    pthread_mutex_unlock(&guard);
    return code;
}

EXPORT nvmlReturn_t nvmlInit(void) { return nvmlInitWithFlags(0); }
EXPORT nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

EXPORT nvmlReturn_t nvmlShutdown(void) {
    pthread_mutex_lock(&guard);
    nvmlReturn_t code = users ? NVML_SUCCESS : NVML_UNINITIALIZED;
    if (users) users--;
    pthread_mutex_unlock(&guard);
    return code;
}

EXPORT const char *nvmlErrorString(nvmlReturn_t code) {
    static const struct { int code; const char *text; } texts[] = {
        {NVML_SUCCESS, "Success"}, {NVML_UNINITIALIZED, "Uninitialized"}, {NVML_INVALID_ARGUMENT, "Invalid Argument"},
        {NVML_NOT_SUPPORTED, "Not Supported"}, {NVML_NO_PERMISSION, "Insufficient Permissions"}, {NVML_NOT_FOUND, "Not Found"},
        {NVML_INSUFFICIENT_SIZE, "Insufficient Size"}, {NVML_DRIVER_NOT_LOADED, "Driver Not Loaded"}, {NVML_TIMEOUT, "Timeout"},
        {NVML_GPU_IS_LOST, "GPU is lost"}, {NVML_RESET_REQUIRED, "GPU requires reset"},
        {NVML_LIB_RM_VERSION_MISMATCH, "Driver/library version mismatch"}, {NVML_VERSION_MISMATCH, "Argument version mismatch"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].code == code) return texts[i].text;
    return "Unknown Error";
}

struct plant *node_plant(void) { return users ? node : NULL; }

nvmlDevice_t node_handle(uint32_t gpu, int mig) { return &handles[gpu][mig + 1]; }

static nvmlReturn_t fault_code(const struct gpu_state *s, const char *name) {
    static const struct { enum fault_kind kind; nvmlReturn_t code; } codes[] = {
        {FAULT_LOST, NVML_GPU_IS_LOST}, {FAULT_UNKNOWN_ERROR, NVML_UNKNOWN}, {FAULT_TIMEOUT, NVML_TIMEOUT},
        {FAULT_RESET_REQUIRED, NVML_RESET_REQUIRED}, {FAULT_NOT_SUPPORTED, NVML_NOT_SUPPORTED},
        {FAULT_NO_PERMISSION, NVML_NO_PERMISSION},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (fault_find(s, codes[i].kind, codes[i].kind == FAULT_LOST ? "" : name)) return codes[i].code;
    return NVML_SUCCESS;
}

/* How often this process called each function, in the file PID of the folder $WATTLENS_SIM_CALLS. The driver's time of a call is
 * not simulated: a benchmark multiplies these counts by published times. */
static void count_call(const char *name) {
    static struct tally { char name[56]; uint64_t calls; } *tallies;
    static int opened;
    enum { TALLIES = 128 };
    pthread_mutex_lock(&guard);
    const char *folder = opened++ ? NULL : getenv("WATTLENS_SIM_CALLS");
    char path[4096];
    if (folder && snprintf(path, sizeof path, "%s/%d", folder, (int)getpid()) < (int)sizeof path) {
        int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (file >= 0 && !ftruncate(file, TALLIES * sizeof *tallies)) {
            void *mapped = mmap(NULL, TALLIES * sizeof *tallies, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (mapped != MAP_FAILED) tallies = mapped;
        }
        if (file >= 0) close(file);
    }
    for (int i = 0; tallies && i < TALLIES; i++) {
        if (!tallies[i].name[0]) snprintf(tallies[i].name, sizeof tallies[i].name, "%s", name);
        if (strncmp(tallies[i].name, name, sizeof tallies[i].name - 1)) continue;
        tallies[i].calls++;
        break;
    }
    pthread_mutex_unlock(&guard);
}

nvmlReturn_t call_begin_any(struct call *c, nvmlDevice_t device, const char *name) {
    struct plant *plant = node_plant();
    if (!plant) return NVML_UNINITIALIZED;
    ptrdiff_t cell = (char *)device - &handles[0][0];
    if (!device || cell < 0 || cell >= (ptrdiff_t)sizeof handles) return NVML_INVALID_ARGUMENT;
    c->gpu = (uint32_t)cell / (MIG_MAX + 1);
    c->mig = (int)(cell % (MIG_MAX + 1)) - 1;
    if (c->gpu >= plant->header->gpu_count) return NVML_INVALID_ARGUMENT;
    count_call(name);
    for (int delayed = 0;;) {
        if (visit_begin(&c->visit, plant, c->gpu)) return NVML_UNKNOWN;
        if (atomic_load(&plant->header->driver_loads) != load) { /* its driver is gone: it has to be initialised anew */
            visit_end(&c->visit);
            return NVML_UNINITIALIZED;
        }
        const struct fault *latency = delayed ? NULL : fault_find(c->visit.state, FAULT_LATENCY, name);
        if (latency) {
            double ms = (double)latency->value;
            visit_end(&c->visit);
            plant_sleep_ms(plant, ms);
            delayed = 1;
        } else if (fault_find(c->visit.state, FAULT_HANG, name)) {
            visit_end(&c->visit);
            nanosleep(&(struct timespec){0, 5000000}, NULL);
        } else break;
    }
    c->s = c->visit.state;
    c->b = &c->visit.gpu->board;
    nvmlReturn_t code = fault_code(c->s, name);
    if (code == NVML_SUCCESS && c->mig >= mig_count(c->s) && c->mig >= 0) code = NVML_INVALID_ARGUMENT;
    if (code != NVML_SUCCESS) visit_end(&c->visit);
    return code;
}

nvmlReturn_t call_begin(struct call *c, nvmlDevice_t device, const char *name) {
    nvmlReturn_t code = call_begin_any(c, device, name);
    if (code != NVML_SUCCESS || c->mig < 0) return code;
    return call_end(c, NVML_NOT_SUPPORTED);
}

nvmlReturn_t call_end(struct call *c, nvmlReturn_t code) {
    visit_end(&c->visit);
    return code;
}
