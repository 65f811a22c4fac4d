#ifndef HEADRACE_RING_H
#define HEADRACE_RING_H

#include <stddef.h>
#include <stdint.h>

// io_uring, reduced to reads. No type of liburing shows here: Swift modules that import liburing's header twice, or
// together with another binding of io_uring, do not compile. Functions that can fail return a negative errno.

struct headrace_ring;

struct headrace_ring_completion {
    uint64_t user_data;
    /// Bytes read, or a negative errno.
    int32_t res;
    uint32_t flags;
};

/// Makes a ring with room for `entries` submissions. It belongs to the calling thread.
int headrace_ring_create(unsigned entries, struct headrace_ring **out);
void headrace_ring_destroy(struct headrace_ring *ring);

/// The IORING_SETUP_ flags that the kernel accepted.
unsigned headrace_ring_setup_flags(const struct headrace_ring *ring);

/// Whether the kernel knows plain reads and reads into registered buffers: 1 or 0.
int headrace_ring_supports_reads(struct headrace_ring *ring);

/// An empty table for `count` registered buffers. Needs Linux 5.19.
int headrace_ring_reserve_buffers(struct headrace_ring *ring, unsigned count);
/// Pins a buffer and puts it in the table; NULL empties the place. No queued read may use the place.
int headrace_ring_set_buffer(struct headrace_ring *ring, unsigned index, void *base, size_t length);

/// An empty table for `count` registered files. Needs Linux 5.12 in practice.
int headrace_ring_reserve_files(struct headrace_ring *ring, unsigned count);
/// Puts an open file in the table; -1 empties the place. No queued read may use the place.
int headrace_ring_set_file(struct headrace_ring *ring, unsigned index, int fd);

/// Where a read takes its file and puts its bytes.
struct headrace_ring_read {
    uint64_t user_data;
    uint64_t offset;
    void *destination;
    uint32_t length;
    /// A descriptor, or a place in the table of files when `file_is_registered`.
    int file;
    int file_is_registered;
    /// A place in the table of buffers, or -1.
    int buffer;
};

/// Queues a read; -EBUSY when the queue is full (submit, then try again).
int headrace_ring_queue_read(struct headrace_ring *ring, const struct headrace_ring_read *read);

/// Queues a one-time wait for `fd` to become readable; -EBUSY when the queue is full.
int headrace_ring_queue_poll(struct headrace_ring *ring, uint64_t user_data, int fd);

/// How long a wait for more than one completion goes on when fewer come: so that what else completes (a bell) is seen.
#define HEADRACE_RING_PATIENCE_NS 2000000

/// Starts what is queued and waits until `minimum` completions are there (0: only collects), in one system call. A wait
/// for more than one may end early, see HEADRACE_RING_PATIENCE_NS.
int headrace_ring_submit_and_wait(struct headrace_ring *ring, unsigned minimum);

/// Takes up to `capacity` completions; returns how many.
unsigned headrace_ring_reap(
    struct headrace_ring *ring, struct headrace_ring_completion *out, unsigned capacity);

// An eventfd, by which another thread makes a waiting ring return: its poll completes.

int headrace_bell_open(void);
void headrace_bell_ring(int bell);
/// Takes back all rings so far, so that the next poll waits again.
void headrace_bell_drain(int bell);

#endif
