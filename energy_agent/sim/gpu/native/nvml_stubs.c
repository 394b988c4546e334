/* NVML: everything else answers NOT_SUPPORTED. Weak, so that a function which another file defines takes its place. */
#include "nvml_names.h"

#define STUB(name) \
    int name(void); \
    __attribute__((weak, visibility("default"))) int name(void) { return 3; }
NVML_NAMES(STUB)
