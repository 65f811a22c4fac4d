#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

int headrace_open_for_reading(const char *path, int direct) {
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | (direct ? O_DIRECT : 0);
    int fd;
    do fd = open(path, flags | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return -errno;
    // io_uring takes O_NONBLOCK at its word and answers EAGAIN where a page is not there yet.
    if (fcntl(fd, F_SETFL, flags & ~O_CLOEXEC) != 0) {
        int number = errno;
        close(fd);
        return -number;
    }
    return fd;
}

int64_t headrace_pread(int fd, void *destination, uint64_t length, int64_t offset) {
    long count = syscall(SYS_pread64, fd, destination, length, offset);
    return count < 0 ? -errno : count;
}

int headrace_direct_alignment(int fd) {
#ifdef STATX_DIOALIGN
    struct statx facts;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) != 0) return -errno;
    if (!(facts.stx_mask & STATX_DIOALIGN)) return -EOPNOTSUPP;
    return facts.stx_dio_mem_align > facts.stx_dio_offset_align ? (int)facts.stx_dio_mem_align
                                                                : (int)facts.stx_dio_offset_align;
#else
    (void)fd;
    return -EOPNOTSUPP;
#endif
}

int64_t headrace_cached_byte_count(int fd, uint64_t length) {
    struct { uint64_t offset, length; } range = {0, length};
    struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } pages;
    if (length == 0) return 0;
    if (syscall(SYS_cachestat, fd, &range, &pages, 0) != 0) return -errno;
    uint64_t bytes = pages.cached * (uint64_t)sysconf(_SC_PAGESIZE);
    return (int64_t)(bytes < length ? bytes : length);
}

int64_t headrace_file_system_magic(const char *path) {
    struct statfs facts;
    int status;
    do status = statfs(path, &facts);
    while (status != 0 && errno == EINTR);
    // The kernel's field is a signed word, the magic numbers are 32 bits.
    return status == 0 ? (int64_t)(uint32_t)facts.f_type : -errno;
}

int headrace_rename_new(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0 ? 0 : -errno;
}

int headrace_allocate(int fd, int64_t length) {
    int status;
    do status = fallocate(fd, 0, 0, length);
    while (status != 0 && errno == EINTR);
    return status == 0 ? 0 : -errno;
}
