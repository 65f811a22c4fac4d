// Ceiling of random access: finds the samples of all files by their headers, which is not measured, and then reads each of
// them once, in random order, by pread into one buffer a thread. Nothing is looked at.
#include "common.h"
#include "tar_header.h"

struct place {
    int fd;
    uint32_t length;
    uint64_t offset;
};

static struct place *places;
static size_t place_count, place_room;

static void add(int fd, uint64_t offset, uint64_t length) {
    if (place_count == place_room) {
        place_room = place_room ? 2 * place_room : 1 << 16;
        places = realloc(places, place_room * sizeof *places);
        if (!places) FAIL("no memory for %zu places", place_room);
    }
    places[place_count++] = (struct place){fd, (uint32_t)length, offset};
}

static void find_records(struct worker *worker) {
    uint64_t at = 0, length;
    while (at < worker->size) {
        if (read_at(worker, (uint8_t *)&length, 8, at) < 8) FAIL("%s is cut", worker->file);
        add(worker->fd, at, length + 16);
        at += length + 16;
    }
}

static void find_members(struct worker *worker) {
    struct tar_walk walk = {0};
    uint8_t header[512];
    size_t start = 0;
    while (!walk.ended) {
        uint64_t before = worker->samples;
        size_t at = walk.next;
        if (read_at(worker, header, 512, at) < 512) FAIL("%s is cut", worker->file);
        walk_tar(&walk, header, at, 512, worker);
        if (worker->samples != before) {
            if (before > 0 && at > start) add(worker->fd, start, at - start);
            start = at;
        }
        if (walk.ended && at > start) add(worker->fd, start, at - start);
    }
    worker->samples = 0;
}

static void shard(struct worker *worker) { (void)worker; }

static atomic_size_t next_place;

static void *read_places(void *argument) {
    struct worker *worker = argument;
    size_t start;
    // A batch at a time, as whoever shares work must.
    while ((start = atomic_fetch_add(&next_place, 256)) < place_count * (size_t)options.epochs) {
        for (size_t i = start; i < start + 256 && i < place_count * (size_t)options.epochs; i++) {
            struct place place = places[i % place_count];
            worker->fd = place.fd;
            if (read_at(worker, worker->buffer, place.length, place.offset) != place.length) FAIL("a file was cut");
            worker->samples++;
            worker->bytes += place.length;
        }
    }
    return NULL;
}

static double used(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return seconds(&usage.ru_utime) + seconds(&usage.ru_stime);
}

int main(int count, char **arguments) {
    options.threads = 1;
    parse(count, arguments);
    for (int i = 0; i < options.files; i++) {
        struct stat status;
        struct worker worker = {.file = options.names[i]};
        worker.fd = open(worker.file, O_RDONLY | O_CLOEXEC);
        if (worker.fd < 0 || fstat(worker.fd, &status)) FAIL("%s: %s", worker.file, strerror(errno));
        worker.size = (size_t)status.st_size;
        bool is_tar = strstr(worker.file, ".tar") != NULL;
        (is_tar ? find_members : find_records)(&worker);
    }
    uint64_t state = 42;
    uint32_t longest = 0;
    for (size_t i = place_count; i > 1; i--) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t other = (size_t)(((state >> 32) * (uint64_t)i) >> 32);
        struct place place = places[i - 1];
        places[i - 1] = places[other];
        places[other] = place;
    }
    for (size_t i = 0; i < place_count; i++) longest = places[i].length > longest ? places[i].length : longest;
    struct worker workers[64] = {0}, total = {0};
    pthread_t threads[64];
    for (int i = 0; i < options.threads; i++) workers[i].buffer = kept(longest);
    double cpu = used(), began = now();
    for (int i = 0; i < options.threads; i++)
        if (pthread_create(&threads[i], NULL, read_places, &workers[i])) FAIL("no thread to be had");
    for (int i = 0; i < options.threads; i++) {
        pthread_join(threads[i], NULL);
        total.samples += workers[i].samples;
        total.bytes += workers[i].bytes;
    }
    double wall = now() - began;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"workload\":\"ceiling-random\",\"samples\":%llu,\"bytes\":%llu,\"wall_s\":%.6f,\"cpu_s\":%.6f,"
           "\"peak_rss_mb\":%.1f}\n",
           (unsigned long long)total.samples, (unsigned long long)total.bytes, wall, used() - cpu,
           (double)usage.ru_maxrss * 1024 / 1e6);
    return 0;
}
