/* The simulated GPU node: what lies in the shared file `plant`, and the functions that the C files share.
 *
 * Every process maps the same file. A GPU's state exists twice; a writer locks the GPU (robust, process-shared mutex), copies
 * the active state to the other buffer, brings it to now, changes it, and flips the index with one store. A process that is
 * killed at any instant therefore leaves the last committed state, whole.
 */
#ifndef WATTLENS_PLANT_H
#define WATTLENS_PLANT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PLANT_MAGIC "WLPLANT1"
#define PLANT_VERSION 1u
#define PLANT_GPUS 64
#define SLOTS 32    /* processes on one GPU */
#define SEGMENTS 8  /* pieces of submitted work that wait in one slot */
#define FAULTS 16   /* faults set on one GPU */
#define XIDS 32     /* XID events kept for readers that come late */
#define AVERAGES 10 /* counter ticks in the 1 s average */
#define RECENT 2048 /* ms of sensed power that are remembered */
#define MIG_MAX 7
#define USES 72     /* utilisation periods that the driver remembers of each process */
#define CALL_NAME 48
#define HEADER_SIZE 4096

#define CONTROL_MS 5   /* the clock regulator's period */
#define THERMAL_MS 100 /* the thermal model's step */

/* Read by energy_agent/runtime/clock.py and energy_agent/devices/nvml/driver_epoch.py with struct: keep the offsets of the first
   64 bytes, of driver_loads and of utc_step_ns. */
struct header {
    char magic[8];                /* 0: written last, so that a half-made file is never taken for a plant */
    uint32_t version;             /* 8 */
    uint32_t manual;              /* 12: 0 real time, 1 time moves only when it is told to */
    int64_t base_utc_ns;          /* 16: plant time zero */
    int64_t base_boot_ns;         /* 24: CLOCK_BOOTTIME at plant time zero */
    double rate;                  /* 32: plant seconds per second */
    _Atomic int64_t manual_now_ns; /* 40: UTC, in manual mode */
    uint64_t seed;                /* 48 */
    uint32_t gpu_count;           /* 56 */
    _Atomic uint32_t flags;       /* 60: FLAG_ */
    uint64_t layout;              /* 64: size of one GPU's block; another build of the library is refused */
    char driver[80];
    _Atomic int64_t driver_loads; /* 152: odd while a load is under way; a client serves the load that it was initialised in */
    _Atomic int64_t utc_step_ns;  /* 160: how far UTC was set from plant time, which goes on */
};
_Static_assert(offsetof(struct header, driver_loads) == 152, "read by devices/nvml/driver_epoch.py");
_Static_assert(offsetof(struct header, utc_step_ns) == 160, "read and written by clock.py");

enum { FLAG_UNPRIVILEGED = 1, FLAG_ROOT_ONLY = 2, FLAG_DRIVER_MISMATCH = 4 };

/* What a board is: numbers by name from boards.json (see energy_agent/sim/README.md for meaning and basis). */
#define BOARD_NUMBERS(X) \
    X(p0_w) X(idle_w) X(b_w_per_mhz) X(knee_mhz) X(s_per_mhz) X(voltage_ceiling_ratio) X(leak_per_k) X(t_ref_c) X(tdp_w) \
    X(memory_x) X(memory_power_ratio) X(held_idle_x) X(bandwidth_knee_mhz) \
    X(f_min_mhz) X(f_max_mhz) X(f_idle_mhz) X(f_step_mhz) X(memory_mhz) \
    X(limit_min_w) X(limit_max_w) X(limit_default_w) \
    X(thermal_k_per_w) X(thermal_tau_s) X(ambient_c) X(slowdown_c) X(memory_offset_k) X(has_memory_temperature) \
    X(tick_ms) X(tick_jitter_ms) X(window_ms) X(has_average) X(usage_is_average) X(utilization_period_ms) \
    X(has_counter) X(has_instant) X(tick_phase_ms) X(clock_shared) \
    X(power_clock) X(power_tick_ms) X(power_jitter_ms) X(power_phase_ms) \
    X(average_clock) X(average_tick_ms) X(average_jitter_ms) X(average_phase_ms) X(average_window_ms) X(average_tau_ms) \
    X(counter_sampled) X(counter_lag_ms) X(module_w) X(counter_of_module) X(gain) X(offset_w) X(lock_delay_ms) X(idle_after_ms) X(set_call_ms) \
    X(memory_b) X(architecture) X(compute_major) X(compute_minor) X(cores) X(mig_capable) X(pci_device_id) X(nvlink_links)

struct board {
#define X(name) double name;
    BOARD_NUMBERS(X)
#undef X
    char name[96];
    char uuid[80];
    char serial[32];
};

/* What makes a power reading change: the counter's tick, a clock of its own, every read, or (average) instant power. */
enum sensor_trigger { TRIGGER_COUNTER, TRIGGER_OWN, TRIGGER_READ, TRIGGER_POWER };

/* The interval between two ticks of one sensor. */
struct sensor_clock {
    uint64_t random;
    int64_t began_ms, at_ms;
};

struct segment {
    int64_t left_ns; /* of work at the reference clock */
    double boundness;
    double intensity;
};

struct slot {
    int32_t pid;  /* 0: never used */
    uint32_t live;
    uint64_t born; /* start time of the process, so that a reused pid is not taken for it */
    uint64_t memory_b;
    int64_t submitted_ns, done_ns, busy_ns;
    int64_t active_nj; /* true energy while a kernel of this slot ran, shared by time */
    int64_t idle_nj;   /* its part of the true energy while it held the GPU, or its MIG instance, and nothing ran there */
    int64_t ended_ms;
    uint32_t head, count;
    double period_sm_ms, period_memory_ms; /* in the current utilisation period */
    uint32_t sm_percent, memory_percent;   /* of the last one */
    uint16_t uses[USES];                   /* SM use in the periods before, 1/100 %, in the order of gpu_state.use_us */
    struct segment queue[SEGMENTS];
};

enum fault_kind {
    FAULT_NONE, FAULT_LOST, FAULT_HANG, FAULT_NOT_SUPPORTED, FAULT_NO_PERMISSION, FAULT_STUCK_SENSOR, FAULT_MIG,
    FAULT_UNKNOWN_ERROR, FAULT_LATENCY, FAULT_AMBIENT, FAULT_TIMEOUT, FAULT_RESET_REQUIRED,
    FAULT_COUNTER_RESET, FAULT_XID, /* happen once */
    FAULT_DRIVER_MISMATCH, FAULT_UNPRIVILEGED, FAULT_DRIVER_RELOAD, /* of the whole node; the last happens once */
    FAULT_NVLINK_DOWN, FAULT_PCIE_WIDTH, FAULT_RECOVERY_ACTION, FAULT_ROW_REMAP_FAILURE,
    FAULT_ECC_CORRECTED, FAULT_ECC_UNCORRECTED, FAULT_PCIE_REPLAY, FAULT_NVLINK_ERROR, /* happen once */
    FAULT_MPS
};

struct fault {
    uint32_t kind;
    int64_t value;
    char call[CALL_NAME]; /* "": every call */
};

struct xid {
    uint64_t code;
    int64_t t_ms;
};

/* What wears out or goes wrong (health.c). First index of pairs: 0 corrected, 1 uncorrected. */
struct health {
    uint64_t ecc_volatile[2], ecc_aggregate[2]; /* in device memory; volatile ones begin anew with the driver */
    uint32_t remapped[2], remap_pending;        /* rows, on boards that remap (Ampere and later) */
    uint32_t retired[2], retire_pending;        /* pages, on boards before those */
    uint64_t pcie_replays, nvlink_errors;
    double tensor_ms, memory_ms; /* time weighted by what the work asked of the tensor cores and of the memory */
    int64_t instance_busy_ns[MIG_MAX]; /* of each MIG instance */
};

struct gpu_state {
    int64_t t_ms; /* plant time up to which everything below is true */
    /* clock and power */
    int32_t f_mhz, thermal_ceiling_mhz;
    uint32_t reasons; /* clock-event bits */
    double power_w, temperature_c, ambient_c;
    int64_t last_work_ms;
    int64_t thermal_nj; /* true energy since the last thermal step */
    /* settings */
    int64_t limit_mw;
    int32_t lock_low_mhz, lock_high_mhz; /* in effect; high 0: none */
    int32_t next_low_mhz, next_high_mhz;
    int64_t next_limit_mw, settings_at_ms; /* -1: none waits */
    uint32_t persistence;
    /* truth, nJ */
    int64_t true_nj, sensed_nj, unseen_nj, unseen_true_nj;
    int64_t busy_ns, power_cap_ns, thermal_ns;
    uint32_t counter_resets;
    /* sensors: energy in gain units unless named true */
    struct sensor_clock counter_clock, power_clock, average_clock;
    int64_t tick_nj, tick_true_nj, window_nj;
    int64_t held_nj, held_true_nj; /* withheld by a stuck counter */
    int64_t counter_nj;
    int64_t instant_mw, average_mw;
    int64_t average_nj[AVERAGES], average_ms[AVERAGES];
    uint32_t average_next, average_count;
    double average_uw;         /* exponential average */
    int32_t recent_uw[RECENT]; /* sensed power of the ms [t, t + 1), at t modulo RECENT */
    int64_t period_at_ms; /* end of the utilisation period */
    double period_busy_ms, period_memory_ms;
    uint32_t gpu_percent, memory_percent;
    int64_t utilization_us; /* UTC of the last utilisation sample */
    int64_t use_us[USES];   /* ends of the last utilisation periods; 0: there was none */
    uint32_t use_next;
    struct health health;
    /* events and faults */
    uint64_t xid_count;
    struct xid xids[XIDS];
    uint32_t fault_count;
    struct fault faults[FAULTS];
    struct slot slots[SLOTS];
};

struct gpu {
    pthread_mutex_t lock;
    _Atomic uint32_t active;
    _Atomic int64_t reaped_boot_ns;
    struct board board;
    struct gpu_state state[2];
};

struct plant {
    struct header *header;
    size_t size;
    char *unpublished; /* the name it still has to take, while it is being made */
};

/* memory.c: mapping, time, locking */
int64_t boot_now_ns(void);
int64_t plant_now_ns(const struct plant *plant);
int64_t plant_now_ms(const struct plant *plant);
struct gpu *plant_gpu(const struct plant *plant, uint32_t gpu);
struct plant *plant_open(const char *path, int *error);
void plant_close(struct plant *plant);

/* One visit to a GPU: locked between `visit_begin` and `visit_end`. `state` is at now; write only after `visit_edit`. */
struct visit {
    struct plant *plant;
    struct gpu *gpu;
    const struct gpu_state *state;
    struct gpu_state *edit;
};
int visit_begin(struct visit *visit, struct plant *plant, uint32_t gpu);
struct gpu_state *visit_edit(struct visit *visit);
void visit_end(struct visit *visit);
void plant_sleep_ms(const struct plant *plant, double milliseconds);

/* physics.c */
double board_power(const struct board *b, double temperature_c, double f_mhz, double boundness, double intensity);
double board_speed(const struct board *b, double f_mhz, double boundness);
void state_start(struct gpu_state *s, const struct board *b, uint64_t seed);
void state_advance(struct gpu_state *s, const struct board *b, int64_t target_ms, int64_t base_utc_ns);

/* concurrency.c: who runs where. A GPU in MIG mode has instances, each a share of the SMs; under MPS each process has one. */
struct lane {
    double share;    /* of the SMs that a slot's work has, over a ms; 0: it has none */
    double static_x; /* share of the static power that is its own */
    double dynamic_x; /* share of the rest */
};
struct lanes {
    int concurrent; /* 0: time-sliced, and the rest is unset */
    double used, boundness, intensity;
    struct lane lane[SLOTS];
};
int mig_count(const struct gpu_state *s); /* MIG devices; -1 when MIG mode is off */
int mig_size(const struct gpu_state *s, int instance); /* compute slices of one of them */
int mig_of(const struct gpu_state *s, int slot); /* the instance that a process is on */
void lanes_rest(struct gpu_state *s, const struct board *b, int64_t ms, int64_t true_nj);
void lanes_find(const struct gpu_state *s, const struct board *b, struct lanes *lanes);

/* sensors.c */
void sensor_start(struct gpu_state *s, const struct board *b, uint64_t seed);
int64_t sensor_next_ms(const struct gpu_state *s, const struct board *b);
void sensor_collect(struct gpu_state *s, const struct board *b, int64_t ms, int64_t true_nj, int64_t gain_nj);
void sensor_events(struct gpu_state *s, const struct board *b, int64_t base_utc_ns);
int64_t sensor_instant_mw(const struct gpu_state *s, const struct board *b);
int64_t sensor_average_mw(const struct gpu_state *s, const struct board *b);
void sensor_freeze(struct gpu_state *s, const struct board *b);
void sensor_restart_counter(struct gpu_state *s);
void sensor_release(struct gpu_state *s, int catch_up);

/* faults.c */
const struct fault *fault_find(const struct gpu_state *s, enum fault_kind kind, const char *call);
void settings_default(struct gpu_state *s, const struct board *b);
void slot_end(struct gpu_state *s, struct slot *slot);
int fault_set(struct gpu_state *s, const struct board *b, enum fault_kind kind, const char *call, int64_t value);
void fault_clear(struct gpu_state *s, const struct board *b, enum fault_kind kind);

/* health.c */
int health_fault(struct gpu_state *s, const struct board *b, enum fault_kind kind, int64_t value); /* whether it is one of its own */
void health_restart(struct gpu_state *s);
int board_remaps_rows(const struct board *b);

/* memory.c */
int process_alive(int32_t pid, uint64_t *born);

/* What the functions of make.c and control.c answer when they fail. */
enum { WL_ARGUMENT = -1, WL_LOCK = -2, WL_FULL = -3, WL_LOST = -4, WL_GONE = -5, WL_SYSTEM = -6 };

#define EXPORT __attribute__((visibility("default")))

#endif
