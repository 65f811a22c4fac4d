// A driver without a device: the calls of CUDA's driver that the back end makes, over the host's memory, with every
// stream a thread of its own. Copies can be held back, calls can be made to fail, and all that was made and destroyed is
// counted, so that tests can show what happens in which order. Built when tests run, into a library of its own; each
// test loads its own copy, so that none sees another's state.

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, NOT_READY = 600 };
enum { COPY, RECORD, WAIT, KERNEL, END };
enum { FAILURES = 16, LOG_BYTES = 1 << 20 };

struct event {
    // Records that were queued, and those that were reached.
    uint64_t queued, reached;
};

struct operation {
    int kind;
    void *to;
    const void *from;
    size_t bytes;
    struct event *event;
    uint64_t mark;
    struct operation *next;
};

struct stream {
    pthread_t thread;
    struct operation *first, *last;
    int busy;
    unsigned flags;
    int number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

// The context of each thread, as a stack of two: nobody needs more.
static __thread int current;

static struct stream *legacy;
static int streams_made;
static char text[LOG_BYTES];
static size_t text_end;
static int devices = 1;
// Copies that may still run; negative: all.
static long copies_allowed = -1;
static long copies_queued, copies_done;
static long host_bytes, device_bytes;
static long counts[6];
enum { HOST, DEVICE, EVENTS, STREAMS, CONTEXTS, MODULES };
static int sticky;

static struct {
    char call[40];
    long after;
    int code;
    int is_sticky;
} failures[FAILURES];

static void note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text + text_end, LOG_BYTES - text_end, format, arguments);
    va_end(arguments);
    if (length > 0 && text_end + (size_t)length + 2 < LOG_BYTES) {
        text_end += (size_t)length;
        text[text_end++] = '\n';
        text[text_end] = 0;
    }
}

// What a call is made to answer; the lock is held.
static int failure_of(const char *call) {
    if (sticky) return sticky;
    for (int place = 0; place < FAILURES; place++) {
        if (strcmp(failures[place].call, call) != 0) continue;
        if (failures[place].after-- > 0) continue;
        if (failures[place].is_sticky) sticky = failures[place].code; else failures[place].call[0] = 0;
        return failures[place].code;
    }
    return SUCCESS;
}

#define BEGIN(call) \
    pthread_mutex_lock(&lock); \
    int status = failure_of(call); \
    if (status != SUCCESS) { \
        pthread_mutex_unlock(&lock); \
        return status; \
    }
#define DEMAND_CONTEXT \
    if (!current) { \
        pthread_mutex_unlock(&lock); \
        return INVALID_CONTEXT; \
    }
#define END_WITH(result) \
    pthread_mutex_unlock(&lock); \
    return result;

// --- What tests call ------------------------------------------------------------------------------------------------

void fake_hold_copies(void) {
    pthread_mutex_lock(&lock);
    copies_allowed = 0;
    pthread_mutex_unlock(&lock);
}

void fake_let_copies_go(long count) {
    pthread_mutex_lock(&lock);
    copies_allowed = count < 0 ? -1 : (copies_allowed < 0 ? 0 : copies_allowed) + count;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void fake_fail(const char *call, long after, int code, int is_sticky) {
    pthread_mutex_lock(&lock);
    for (int place = 0; place < FAILURES; place++) {
        if (failures[place].call[0]) continue;
        snprintf(failures[place].call, sizeof failures[place].call, "%s", call);
        failures[place].after = after;
        failures[place].code = code;
        failures[place].is_sticky = is_sticky;
        break;
    }
    pthread_mutex_unlock(&lock);
}

// Returns when at least `count` copies were queued.
void fake_await_copies(long count) {
    pthread_mutex_lock(&lock);
    while (copies_queued < count) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

long fake_count(int what) {
    pthread_mutex_lock(&lock);
    long count = what < 6 ? counts[what] : what == 6 ? copies_queued : what == 7 ? copies_done : what == 8 ? host_bytes
                                                                                                : device_bytes;
    pthread_mutex_unlock(&lock);
    return count;
}

// A copy of what was noted so far; to be freed.
char *fake_log(void) {
    pthread_mutex_lock(&lock);
    char *copy = strdup(text);
    pthread_mutex_unlock(&lock);
    return copy;
}

void fake_set_devices(int count) { devices = count; }

#include "fake_streams.h"

// --- Memory ---------------------------------------------------------------------------------------------------------

struct piece {
    void *address;
    size_t bytes;
    struct piece *next;
};
static struct piece *host_pieces, *device_pieces;

static int allocate(struct piece **list, void **out, size_t bytes, size_t alignment) {
    void *address = NULL;
    if (bytes == 0) return INVALID_VALUE;
    if (posix_memalign(&address, alignment, bytes) != 0) return OUT_OF_MEMORY;
    memset(address, 0xa5, bytes);
    struct piece *piece = malloc(sizeof *piece);
    *piece = (struct piece){address, bytes, *list};
    *list = piece;
    *out = address;
    return SUCCESS;
}

// The bytes that were freed, or -1 where no such piece is there: freed twice, or never allocated.
static long release(struct piece **list, void *address) {
    for (struct piece **place = list; *place; place = &(*place)->next) {
        struct piece *piece = *place;
        if (piece->address != address) continue;
        long bytes = (long)piece->bytes;
        memset(address, 0x5a, piece->bytes);
        *place = piece->next;
        free(address);
        free(piece);
        return bytes;
    }
    note("BAD FREE %p", address);
    return -1;
}

static int holds(struct piece *list, const void *address, size_t bytes) {
    for (struct piece *piece = list; piece; piece = piece->next) {
        const char *start = piece->address;
        if ((const char *)address >= start && (const char *)address + bytes <= start + piece->bytes) return 1;
    }
    return 0;
}

int cuMemHostAlloc(void **out, size_t bytes, unsigned flags) {
    (void)flags;
    BEGIN("cuMemHostAlloc")
    DEMAND_CONTEXT
    status = allocate(&host_pieces, out, bytes, 4096);
    if (status == SUCCESS) {
        counts[HOST]++;
        host_bytes += (long)bytes;
    }
    END_WITH(status)
}

int cuMemFreeHost(void *address) {
    BEGIN("cuMemFreeHost")
    long bytes = release(&host_pieces, address);
    if (bytes < 0) {
        END_WITH(INVALID_VALUE)
    }
    counts[HOST]--;
    host_bytes -= bytes;
    END_WITH(SUCCESS)
}

int cuMemAlloc_v2(uint64_t *out, size_t bytes) {
    BEGIN("cuMemAlloc_v2")
    DEMAND_CONTEXT
    void *address = NULL;
    status = allocate(&device_pieces, &address, bytes, 4096);
    if (status == SUCCESS) {
        counts[DEVICE]++;
        device_bytes += (long)bytes;
        *out = (uintptr_t)address;
    }
    END_WITH(status)
}

int cuMemFree_v2(uint64_t address) {
    BEGIN("cuMemFree_v2")
    long bytes = release(&device_pieces, (void *)(uintptr_t)address);
    if (bytes < 0) {
        END_WITH(INVALID_VALUE)
    }
    counts[DEVICE]--;
    device_bytes -= bytes;
    END_WITH(SUCCESS)
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    BEGIN("cuMemcpyHtoDAsync_v2")
    DEMAND_CONTEXT
    if (!holds(device_pieces, (void *)(uintptr_t)to, bytes)) {
        note("BAD COPY to %p", (void *)(uintptr_t)to);
        END_WITH(INVALID_VALUE)
    }
    copies_queued++;
    note("copy %p to %p bytes %zu on stream %d pinned %d", from, (void *)(uintptr_t)to, bytes,
         named(stream)->number, holds(host_pieces, from, bytes));
    push(named(stream),
         (struct operation){.kind = COPY, .to = (void *)(uintptr_t)to, .from = from, .bytes = bytes});
    END_WITH(SUCCESS)
}

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
    BEGIN("cuMemcpyDtoH_v2")
    DEMAND_CONTEXT
    if (!holds(device_pieces, (void *)(uintptr_t)from, bytes)) {
        END_WITH(INVALID_VALUE)
    }
    memcpy(to, (void *)(uintptr_t)from, bytes);
    END_WITH(SUCCESS)
}

// --- Devices and contexts -------------------------------------------------------------------------------------------

int cuInit(unsigned flags) {
    BEGIN("cuInit")
    END_WITH(flags == 0 ? SUCCESS : INVALID_VALUE)
}

int cuGetErrorName(int code, const char **out) {
    *out = code == OUT_OF_MEMORY     ? "CUDA_ERROR_OUT_OF_MEMORY"
           : code == INVALID_VALUE   ? "CUDA_ERROR_INVALID_VALUE"
           : code == NO_DEVICE       ? "CUDA_ERROR_NO_DEVICE"
           : code == INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT"
           : code == 700             ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                                     : NULL;
    return *out ? SUCCESS : INVALID_VALUE;
}

int cuGetErrorString(int code, const char **out) {
    *out = code == 700 ? "an illegal memory access was encountered" : NULL;
    return *out ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGetCount(int *count) {
    BEGIN("cuDeviceGetCount")
    *count = devices;
    END_WITH(SUCCESS)
}

int cuDeviceGet(int *device, int ordinal) {
    BEGIN("cuDeviceGet")
    *device = ordinal;
    END_WITH(ordinal < devices ? SUCCESS : INVALID_VALUE)
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    BEGIN("cuDevicePrimaryCtxRetain")
    counts[CONTEXTS]++;
    *context = &counts;
    END_WITH(SUCCESS)
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    BEGIN("cuDevicePrimaryCtxRelease_v2")
    counts[CONTEXTS]--;
    END_WITH(SUCCESS)
}

int cuCtxPushCurrent_v2(void *context) {
    if (context != &counts) return INVALID_CONTEXT;
    current++;
    return SUCCESS;
}

int cuCtxPopCurrent_v2(void **context) {
    *context = current > 0 ? &counts : NULL;
    if (current == 0) return INVALID_CONTEXT;
    current--;
    return SUCCESS;
}

// How many contexts this thread has not given back.
int fake_current(void) { return current; }

// --- Programs -------------------------------------------------------------------------------------------------------

int cuModuleLoadData(void **module, const void *image) {
    BEGIN("cuModuleLoadData")
    DEMAND_CONTEXT
    counts[MODULES]++;
    *module = strdup(image);
    END_WITH(SUCCESS)
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
    BEGIN("cuModuleGetFunction")
    char entry[128];
    snprintf(entry, sizeof entry, ".entry %s(", name);
    if (!strstr(module, entry)) {
        END_WITH(500)
    }
    // Kept for the life of the process, as the name of a launch.
    *function = strdup(name);
    END_WITH(SUCCESS)
}

int cuModuleUnload(void *module) {
    BEGIN("cuModuleUnload")
    counts[MODULES]--;
    free(module);
    END_WITH(SUCCESS)
}

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters,
                   void **extra) {
    (void)shared;
    (void)extra;
    BEGIN("cuLaunchKernel")
    DEMAND_CONTEXT
    uint64_t values[7];
    for (int place = 0; place < 7; place++) values[place] = *(uint64_t *)parameters[place];
    const float *numbers = (const float *)(uintptr_t)values[2];
    note("launch %s grid %u %u %u block %u %u %u from %#lx to %#lx total %lu pixels %lu channels %lu last %lu "
         "scale %.9g shift %.9g on stream %d",
         (char *)function, grid_x, grid_y, grid_z, block_x, block_y, block_z, (unsigned long)values[0],
         (unsigned long)values[1], (unsigned long)values[3], (unsigned long)values[4], (unsigned long)values[5],
         (unsigned long)values[6], numbers[0], numbers[1], named(stream)->number);
    push(named(stream), (struct operation){.kind = KERNEL});
    END_WITH(SUCCESS)
}
