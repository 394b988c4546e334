/* The shared file: mapping it, its time, and the lock and double buffer of each GPU. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "plant.h"

#define REAP_EVERY_NS 50000000 /* how often the processes of a GPU are looked up */

int64_t boot_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t plant_now_ns(const struct plant *plant) {
    const struct header *h = plant->header;
    if (h->manual) return atomic_load(&plant->header->manual_now_ns);
    return h->base_utc_ns + (int64_t)((double)(boot_now_ns() - h->base_boot_ns) * h->rate);
}

int64_t plant_now_ms(const struct plant *plant) { return (plant_now_ns(plant) - plant->header->base_utc_ns) / 1000000; }

/* Sleep for plant time; in manual mode nobody waits. */
void plant_sleep_ms(const struct plant *plant, double milliseconds) {
    if (plant->header->manual || milliseconds <= 0.0) return;
    double ns = milliseconds * 1e6 / plant->header->rate;
    struct timespec t = {(time_t)(ns / 1e9), (long)((int64_t)ns % 1000000000)};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

struct gpu *plant_gpu(const struct plant *plant, uint32_t gpu) {
    return (struct gpu *)((char *)plant->header + HEADER_SIZE) + gpu;
}

struct plant *plant_open(const char *path, int *error) {
    *error = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        *error = errno;
        return NULL;
    }
    struct stat st;
    struct plant *plant = NULL;
    void *memory = MAP_FAILED;
    if (fstat(fd, &st) == 0 && st.st_size >= HEADER_SIZE)
        memory = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED) {
        *error = EINVAL;
        return NULL;
    }
    struct header *h = memory;
    if (memcmp(h->magic, PLANT_MAGIC, sizeof h->magic) != 0 || h->version != PLANT_VERSION || h->layout != sizeof(struct gpu) ||
        h->gpu_count > PLANT_GPUS || (size_t)st.st_size != HEADER_SIZE + h->gpu_count * sizeof(struct gpu)) {
        munmap(memory, (size_t)st.st_size);
        *error = EINVAL;
        return NULL;
    }
    plant = calloc(1, sizeof *plant);
    if (!plant) {
        munmap(memory, (size_t)st.st_size);
        *error = ENOMEM;
        return NULL;
    }
    plant->header = h;
    plant->size = (size_t)st.st_size;
    return plant;
}

void plant_close(struct plant *plant) {
    if (!plant) return;
    munmap(plant->header, plant->size);
    free(plant->unpublished);
    free(plant);
}

/* Whether a process still runs: not gone, not a zombie, and not another one with the same pid. `born` 0: take note of it. */
int process_alive(int32_t pid, uint64_t *born) {
    if (kill(pid, 0) != 0 && errno == ESRCH) return 0;
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno != ENOENT; /* /proc may be hidden: believe kill() */
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    const char *at = strrchr(text, ')'); /* the name may hold anything */
    char state = 0;
    unsigned long long start = 0;
    if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state, &start) != 2)
        return 1;
    if (state == 'Z' || state == 'X') return 0;
    if (!*born) *born = start;
    return *born == start;
}

static int due_for_reaping(struct gpu *g) {
    int64_t now = boot_now_ns();
    if (now - atomic_load(&g->reaped_boot_ns) < REAP_EVERY_NS) return 0;
    atomic_store(&g->reaped_boot_ns, now);
    return 1;
}

static void reap(struct visit *v) {
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *slot = &v->state->slots[i];
        uint64_t born = slot->born;
        if (slot->live && !process_alive(slot->pid, &born)) {
            struct gpu_state *s = visit_edit(v);
            slot_end(s, &s->slots[i]);
        }
    }
}

int visit_begin(struct visit *v, struct plant *plant, uint32_t gpu) {
    v->plant = plant;
    v->gpu = plant_gpu(plant, gpu);
    v->edit = NULL;
    int rc = pthread_mutex_lock(&v->gpu->lock);
    if (rc == EOWNERDEAD) { /* the committed buffer is whole, so there is nothing to repair */
        pthread_mutex_consistent(&v->gpu->lock);
        rc = 0;
    }
    if (rc) return rc;
    v->state = &v->gpu->state[atomic_load(&v->gpu->active) & 1];
    int64_t now_ms = plant_now_ms(plant);
    if (v->state->t_ms < now_ms)
        state_advance(visit_edit(v), &v->gpu->board, now_ms,
            plant->header->base_utc_ns + atomic_load(&plant->header->utc_step_ns));
    if (due_for_reaping(v->gpu)) reap(v);
    return 0;
}

struct gpu_state *visit_edit(struct visit *v) {
    if (!v->edit) {
        v->edit = &v->gpu->state[(atomic_load(&v->gpu->active) & 1) ^ 1];
        memcpy(v->edit, v->state, sizeof *v->edit);
        v->state = v->edit;
    }
    return v->edit;
}

void visit_end(struct visit *v) {
    if (v->edit) atomic_store(&v->gpu->active, (uint32_t)(v->edit - v->gpu->state));
    pthread_mutex_unlock(&v->gpu->lock);
}
