// What every ceiling shares: threads that take shards in turn, epochs, clocks, and the JSON line.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FAIL(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

// A thread's own counters and buffer; `file`, `fd` and `size` are of the shard it is at.
struct worker {
    const char *file;
    int fd;
    size_t size;
    uint8_t *buffer;
    uint64_t samples, bytes;
    volatile uint64_t touched;
};

static struct {
    size_t chunk;
    int threads, epochs, files;
    bool examples;
    char **names;
    atomic_int next;
} options = {1 << 20, 2, 1, 0, false, NULL, 0};

static void shard(struct worker *worker);

// Memory that is kept for ever, in huge pages where the system has them; the first touch is paid here.
static uint8_t *kept(size_t size) {
    size = (size + (2 << 20) - 1) & ~(size_t)((2 << 20) - 1);
    uint8_t *memory = mmap(NULL, size + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) FAIL("no %zu bytes of memory", size);
    memory = (uint8_t *)(((uintptr_t)memory + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1));
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 1, size);
    return memory;
}

// Reads up to `count` bytes at `offset`; fewer only at the end of the file.
static inline size_t read_at(struct worker *worker, uint8_t *to, size_t count, size_t offset) {
    size_t done = 0;
    while (done < count) {
        ssize_t got = pread(worker->fd, to + done, count - done, (off_t)(offset + done));
        if (got < 0 && errno != EINTR) FAIL("%s: %s", worker->file, strerror(errno));
        if (got == 0) break;
        if (got > 0) done += (size_t)got;
    }
    return done;
}

static double seconds(const struct timeval *time) { return (double)time->tv_sec + (double)time->tv_usec / 1e6; }

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *work(void *argument) {
    struct worker *worker = argument;
    int index;
    while ((index = atomic_fetch_add(&options.next, 1)) < options.files * options.epochs) {
        struct stat status;
        worker->file = options.names[index % options.files];
        worker->fd = open(worker->file, O_RDONLY | O_CLOEXEC);
        if (worker->fd < 0 || fstat(worker->fd, &status)) FAIL("%s: %s", worker->file, strerror(errno));
        worker->size = (size_t)status.st_size;
        shard(worker);
        close(worker->fd);
    }
    return NULL;
}

static void print_result(const char *name, const struct worker *total, double wall) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"workload\":\"%s\",\"samples\":%llu,\"bytes\":%llu,\"wall_s\":%.6f,\"cpu_s\":%.6f,"
           "\"peak_rss_mb\":%.1f}\n",
           name, (unsigned long long)total->samples, (unsigned long long)total->bytes, wall,
           seconds(&usage.ru_utime) + seconds(&usage.ru_stime), (double)usage.ru_maxrss * 1024 / 1e6);
}

static size_t number(const char *text) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end || end == text || value == 0) FAIL("'%s' is no number above 0", text);
    return (size_t)value;
}

// PROGRAM [--threads N] [--epochs N] [--examples 1] [--chunk BYTES] FILE...
static void parse(int count, char **arguments) {
    int at = 1;
    for (; at + 1 < count && arguments[at][0] == '-'; at += 2) {
        size_t value = number(arguments[at + 1]);
        if (!strcmp(arguments[at], "--threads") && value <= 64) options.threads = (int)value;
        else if (!strcmp(arguments[at], "--epochs")) options.epochs = (int)value;
        else if (!strcmp(arguments[at], "--examples")) options.examples = value == 1;
        else if (!strcmp(arguments[at], "--chunk") && value % 4096 == 0) options.chunk = value;
        else FAIL("%s %s is no option", arguments[at], arguments[at + 1]);
    }
    options.files = count - at;
    options.names = arguments + at;
    if (options.files < 1) FAIL("name the files to read");
}

// Runs `shard` over all files with all threads, each with a buffer of a chunk and `extra` bytes.
static int measure(const char *name, size_t chunk, size_t extra, int count, char **arguments) {
    options.chunk = chunk;
    parse(count, arguments);
    struct worker workers[64] = {0}, total = {0};
    pthread_t threads[64];
    double began = now();
    for (int i = 0; i < options.threads; i++) {
        workers[i].buffer = kept(options.chunk + extra);
        if (pthread_create(&threads[i], NULL, work, &workers[i])) FAIL("no thread to be had");
    }
    for (int i = 0; i < options.threads; i++) {
        pthread_join(threads[i], NULL);
        total.samples += workers[i].samples;
        total.bytes += workers[i].bytes;
    }
    print_result(name, &total, now() - began);
    return 0;
}
