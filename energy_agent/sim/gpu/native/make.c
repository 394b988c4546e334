/* Making a plant: the file is filled under a temporary name and takes its own when every GPU has started. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plant.h"

EXPORT struct plant *wl_create(const char *path, uint32_t count, uint64_t seed, double rate, int manual, int64_t utc_ns) {
    if (count < 1 || count > PLANT_GPUS) return NULL;
    struct plant *plant = calloc(1, sizeof *plant);
    char *temporary = NULL;
    if (!plant || asprintf(&temporary, "%s.%d", path, (int)getpid()) < 0) {
        free(plant);
        return NULL;
    }
    plant->size = HEADER_SIZE + count * sizeof(struct gpu);
    int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *memory = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)plant->size) == 0)
        memory = mmap(NULL, plant->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (memory == MAP_FAILED) {
        free(temporary);
        free(plant);
        return NULL;
    }
    struct header *h = plant->header = memory;
    plant->unpublished = temporary;
    h->version = PLANT_VERSION;
    h->manual = manual ? 1 : 0;
    h->base_utc_ns = utc_ns;
    h->rate = rate;
    h->seed = seed;
    h->gpu_count = count;
    h->layout = sizeof(struct gpu);
    atomic_store(&h->manual_now_ns, utc_ns);
    snprintf(h->driver, sizeof h->driver, "580.65.06");
    return plant;
}

EXPORT int wl_board_number(struct plant *plant, uint32_t gpu, const char *name, double value) {
    if (!plant->unpublished || gpu >= plant->header->gpu_count) return WL_ARGUMENT;
    struct board *b = &plant_gpu(plant, gpu)->board;
#define X(field) \
    if (strcmp(name, #field) == 0) { \
        b->field = value; \
        return 0; \
    }
    BOARD_NUMBERS(X)
#undef X
    return WL_ARGUMENT;
}

EXPORT int wl_board_text(struct plant *plant, uint32_t gpu, const char *name, const char *value) {
    if (!plant->unpublished || gpu >= plant->header->gpu_count) return WL_ARGUMENT;
    struct board *b = &plant_gpu(plant, gpu)->board;
    if (strcmp(name, "name") == 0) snprintf(b->name, sizeof b->name, "%s", value);
    else if (strcmp(name, "uuid") == 0) snprintf(b->uuid, sizeof b->uuid, "%s", value);
    else if (strcmp(name, "serial") == 0) snprintf(b->serial, sizeof b->serial, "%s", value);
    else return WL_ARGUMENT;
    return 0;
}

/* The names of the numbers a board must have, one at a time; NULL after the last. */
EXPORT const char *wl_board_field(uint32_t index) {
    static const char *const names[] = {
#define X(field) #field,
        BOARD_NUMBERS(X)
#undef X
    };
    return index < sizeof names / sizeof *names ? names[index] : NULL;
}

/* Start every GPU and give the file its name. */
EXPORT int wl_publish(struct plant *plant, const char *path) {
    struct header *h = plant->header;
    if (!plant->unpublished) return WL_ARGUMENT;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    for (uint32_t i = 0; i < h->gpu_count; i++) {
        struct gpu *g = plant_gpu(plant, i);
        pthread_mutex_init(&g->lock, &attributes);
        uint64_t own = g->board.clock_shared != 0.0 ? 0 : i + 1; /* the seed drives nothing but the sensors' clocks */
        state_start(&g->state[0], &g->board, h->seed * 0x9e3779b97f4a7c15u + own);
    }
    pthread_mutexattr_destroy(&attributes);
    h->base_boot_ns = boot_now_ns();
    memcpy(h->magic, PLANT_MAGIC, sizeof h->magic);
    if (rename(plant->unpublished, path) != 0) return WL_SYSTEM;
    free(plant->unpublished);
    plant->unpublished = NULL;
    return 0;
}

EXPORT struct plant *wl_attach(const char *path) {
    int error;
    struct plant *plant = plant_open(path, &error);
    if (!plant) errno = error;
    return plant;
}

EXPORT void wl_close(struct plant *plant) {
    if (plant && plant->unpublished) unlink(plant->unpublished);
    plant_close(plant);
}
