// Ceiling of uncached reading: one io_uring, O_DIRECT, registered buffers in huge pages, the files one after the other.
#include "common.h"
#include <liburing.h>

static void shard(struct worker *worker) { (void)worker; }

enum { depth = 32 };
static struct io_uring ring;
static uint8_t *memory;
static struct {
    int file;
    size_t offset;
} position;
static size_t sizes[4096], expected[depth];
static int descriptors[4096];

// Asks for the next chunk with buffer `slot`; false when all has been asked for.
static bool submit(int slot) {
    if (position.offset >= sizes[position.file % options.files]) position.file++, position.offset = 0;
    if (position.file >= options.files * options.epochs) return false;
    int file = position.file % options.files;
    size_t left = sizes[file] - position.offset;
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
    // The last read of a file asks for whole blocks and gets what there is.
    io_uring_prep_read_fixed(entry, descriptors[file], memory + (size_t)slot * options.chunk, (unsigned)options.chunk,
                             position.offset, slot);
    io_uring_sqe_set_data64(entry, (uint64_t)slot);
    expected[slot] = left < options.chunk ? left : options.chunk;
    position.offset += options.chunk;
    return true;
}

static void open_all(void) {
    if (options.files > 4096) FAIL("at most 4096 files");
    for (int i = 0; i < options.files; i++) {
        struct stat status;
        descriptors[i] = open(options.names[i], O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (descriptors[i] < 0 || fstat(descriptors[i], &status)) FAIL("%s: %s", options.names[i], strerror(errno));
        if (!(sizes[i] = (size_t)status.st_size)) FAIL("%s is empty", options.names[i]);
    }
}

int main(int count, char **arguments) {
    options.chunk = 1 << 20;
    parse(count, arguments);
    double began = now();
    open_all();
    memory = kept(depth * options.chunk);
    struct iovec vectors[depth];
    for (int i = 0; i < depth; i++) vectors[i] = (struct iovec){memory + (size_t)i * options.chunk, options.chunk};
    if (io_uring_queue_init(depth, &ring, 0) < 0) FAIL("no io_uring to be had");
    if (io_uring_register_buffers(&ring, vectors, depth) < 0) FAIL("the buffers cannot be registered");
    struct worker total = {0};
    int pending = 0;
    for (int slot = 0; slot < depth && submit(slot); slot++) pending++;
    while (pending > 0) {
        struct io_uring_cqe *done;
        if (io_uring_submit_and_wait(&ring, 1) < 0) FAIL("io_uring refuses to go on");
        while (!io_uring_peek_cqe(&ring, &done)) {
            int slot = (int)io_uring_cqe_get_data64(done);
            if (done->res < 0) FAIL("reading failed: %s", strerror(-done->res));
            if ((size_t)done->res != expected[slot]) FAIL("a read came back short");
            total.bytes += (uint64_t)done->res;
            io_uring_cqe_seen(&ring, done);
            if (!submit(slot)) pending--;
        }
    }
    print_result("ceiling-direct", &total, now() - began);
    return 0;
}
