#ifndef HEADRACE_FILE_H
#define HEADRACE_FILE_H

#include <stdint.h>

// What Linux offers for files only with _GNU_SOURCE, or only as a bare system call. Negative results are errnos.

/// Opens for reading without waiting for a writer where the path is a FIFO; `direct` asks for O_DIRECT.
int headrace_open_for_reading(const char *path, int direct);

/// `pread`, but no point at which a thread can be cancelled: asking for that costs a short read a tenth of its time.
int64_t headrace_pread(int fd, void *destination, uint64_t length, int64_t offset);

/// What offsets, lengths and addresses of direct reads must be multiples of, as statx says; 0 where the file
/// system says that it has no direct I/O for this file; -EOPNOTSUPP where nobody says.
int headrace_direct_alignment(int fd);

/// Bytes of the file's first `length` that are in the page cache, by cachestat(2); -ENOSYS before Linux 6.5.
int64_t headrace_cached_byte_count(int fd, uint64_t length);

/// The magic number of the file system that holds `path`, as in statfs(2).
int64_t headrace_file_system_magic(const char *path);

/// Renames unless `to` exists (-EEXIST); -EINVAL or -ENOSYS where the file system or kernel cannot.
int headrace_rename_new(const char *from, const char *to);

/// Gives the file its first `length` bytes on disk; -EOPNOTSUPP where the file system cannot.
int headrace_allocate(int fd, int64_t length);

#endif
