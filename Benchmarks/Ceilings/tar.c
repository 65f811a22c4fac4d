// Ceiling of plain tar: pread into one buffer that is used again and again, and a scan of the headers.
#include "common.h"
#include "tar_header.h"

static void shard(struct worker *worker) {
    struct tar_walk walk = {0};
    for (size_t at = 0; at < worker->size; at += options.chunk) {
        size_t got = read_at(worker, worker->buffer, options.chunk, at);
        worker->bytes += got;
        walk_tar(&walk, worker->buffer, at, got & ~(size_t)511, worker);
    }
    end_tar(&walk, worker);
}

int main(int count, char **arguments) { return measure("ceiling-tar", 1 << 20, 0, count, arguments); }
