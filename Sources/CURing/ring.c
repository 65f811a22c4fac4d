#include "ring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>

struct headrace_ring {
    struct io_uring ring;
    unsigned setup_flags;
};

// Best first. One issuer with deferred task work (Linux 6.1) saves interrupts of the reading thread; older kernels
// answer EINVAL to flags they do not know.
static const unsigned setups[] = {
    IORING_SETUP_CLAMP | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN,
    IORING_SETUP_CLAMP,
};

int headrace_ring_create(unsigned entries, struct headrace_ring **out) {
    struct headrace_ring *ring = malloc(sizeof *ring);
    if (!ring) return -ENOMEM;
    int status = -EINVAL;
    for (size_t i = 0; i < sizeof setups / sizeof setups[0]; i++) {
        ring->setup_flags = setups[i];
        status = io_uring_queue_init(entries, &ring->ring, setups[i]);
        if (status != -EINVAL) break;
    }
    if (status < 0) {
        free(ring);
        return status;
    }
    // A forked child must not share the queues.
    io_uring_ring_dontfork(&ring->ring);
    *out = ring;
    return 0;
}

void headrace_ring_destroy(struct headrace_ring *ring) {
    io_uring_queue_exit(&ring->ring);
    free(ring);
}

unsigned headrace_ring_setup_flags(const struct headrace_ring *ring) {
    return ring->setup_flags;
}

int headrace_ring_supports_reads(struct headrace_ring *ring) {
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->ring);
    if (!probe) return 0;
    int supported = io_uring_opcode_supported(probe, IORING_OP_READ) &&
                    io_uring_opcode_supported(probe, IORING_OP_READ_FIXED);
    io_uring_free_probe(probe);
    return supported;
}

int headrace_ring_reserve_buffers(struct headrace_ring *ring, unsigned count) {
    return io_uring_register_buffers_sparse(&ring->ring, count);
}

int headrace_ring_set_buffer(struct headrace_ring *ring, unsigned index, void *base, size_t length) {
    struct iovec buffer = {.iov_base = base, .iov_len = base ? length : 0};
    __u64 tag = 0;
    int status = io_uring_register_buffers_update_tag(&ring->ring, index, &buffer, &tag, 1);
    return status < 0 ? status : 0;
}

int headrace_ring_reserve_files(struct headrace_ring *ring, unsigned count) {
    int *empty = malloc(count * sizeof *empty);
    if (!empty) return -ENOMEM;
    for (unsigned i = 0; i < count; i++) empty[i] = -1;
    int status = io_uring_register_files(&ring->ring, empty, count);
    free(empty);
    return status;
}

int headrace_ring_set_file(struct headrace_ring *ring, unsigned index, int fd) {
    int status = io_uring_register_files_update(&ring->ring, index, &fd, 1);
    return status < 0 ? status : 0;
}

int headrace_ring_queue_read(struct headrace_ring *ring, const struct headrace_ring_read *read) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    if (!sqe) return -EBUSY;
    if (read->buffer >= 0) {
        io_uring_prep_read_fixed(
            sqe, read->file, read->destination, read->length, read->offset, read->buffer);
    } else {
        io_uring_prep_read(sqe, read->file, read->destination, read->length, read->offset);
    }
    if (read->file_is_registered) sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, read->user_data);
    return 0;
}

int headrace_ring_queue_poll(struct headrace_ring *ring, uint64_t user_data, int fd) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    if (!sqe) return -EBUSY;
    io_uring_prep_poll_add(sqe, fd, 1 /* POLLIN */);
    io_uring_sqe_set_data64(sqe, user_data);
    return 0;
}

int headrace_ring_submit_and_wait(struct headrace_ring *ring, unsigned minimum) {
    // With deferred task work nothing completes unless the kernel is entered for events, so minimum 0 must, too.
    int status;
    // Without this feature (Linux before 5.11) a time limit would be a completion of its own.
    if (minimum > 1 && (ring->ring.features & IORING_FEAT_EXT_ARG)) {
        struct io_uring_cqe *first;
        struct __kernel_timespec patience = {.tv_nsec = HEADRACE_RING_PATIENCE_NS};
        status = io_uring_submit_and_wait_timeout(&ring->ring, &first, minimum, &patience, NULL);
        if (status == -ETIME) status = 0;
    } else if (minimum > 0) {
        status = io_uring_submit_and_wait(&ring->ring, 1);
    } else {
        status = io_uring_submit_and_get_events(&ring->ring);
    }
    return status < 0 ? status : 0;
}

unsigned headrace_ring_reap(
    struct headrace_ring *ring, struct headrace_ring_completion *out, unsigned capacity) {
    struct io_uring_cqe *entries[64];
    unsigned total = 0;
    while (total < capacity) {
        unsigned room = capacity - total < 64 ? capacity - total : 64;
        unsigned count = io_uring_peek_batch_cqe(&ring->ring, entries, room);
        if (count == 0) break;
        for (unsigned i = 0; i < count; i++) {
            out[total + i].user_data = io_uring_cqe_get_data64(entries[i]);
            out[total + i].res = entries[i]->res;
            out[total + i].flags = entries[i]->flags;
        }
        io_uring_cq_advance(&ring->ring, count);
        total += count;
    }
    return total;
}

int headrace_bell_open(void) {
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell < 0 ? -errno : bell;
}

void headrace_bell_ring(int bell) {
    // Fails only when 2^64 - 2 rings are waiting, and then the bell has been rung.
    eventfd_write(bell, 1);
}

void headrace_bell_drain(int bell) {
    eventfd_t count;
    eventfd_read(bell, &count);
}
