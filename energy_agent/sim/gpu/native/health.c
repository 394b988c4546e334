/* Health of a board: ECC errors and what they lead to, link errors. Counters only move when a fault moves them. */
#include "plant.h"

int board_remaps_rows(const struct board *b) { return b->architecture >= 7.0; } /* Ampere; boards before retire pages */

/* An uncorrected error in device memory asks for a spare row, or for a page to be left out, which the next reset brings. */
static void uncorrected(struct gpu_state *s, const struct board *b, uint64_t n) {
    s->health.ecc_volatile[1] += n;
    s->health.ecc_aggregate[1] += n;
    if (board_remaps_rows(b)) s->health.remap_pending += (uint32_t)n;
    else s->health.retire_pending += (uint32_t)n;
}

int health_fault(struct gpu_state *s, const struct board *b, enum fault_kind kind, int64_t value) {
    uint64_t n = value > 0 ? (uint64_t)value : 1;
    switch (kind) {
    case FAULT_ECC_CORRECTED:
        s->health.ecc_volatile[0] += n;
        s->health.ecc_aggregate[0] += n;
        return 1;
    case FAULT_ECC_UNCORRECTED: uncorrected(s, b, n); return 1;
    case FAULT_PCIE_REPLAY: s->health.pcie_replays += n; return 1;
    case FAULT_NVLINK_ERROR: s->health.nvlink_errors += n; return 1;
    default: return 0;
    }
}

/* The driver was loaded anew or the GPU was reset: what was pending is done, volatile counters begin at 0. */
void health_restart(struct gpu_state *s) {
    struct health *h = &s->health;
    h->remapped[1] += h->remap_pending;
    h->retired[1] += h->retire_pending;
    h->remap_pending = h->retire_pending = 0;
    h->ecc_volatile[0] = h->ecc_volatile[1] = 0;
    h->pcie_replays = h->nvlink_errors = 0;
}
