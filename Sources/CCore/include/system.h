#ifndef HEADRACE_SYSTEM_H
#define HEADRACE_SYSTEM_H

// What glibc offers only with _GNU_SOURCE, which Swift's Glibc module is built without.

/// Names the calling thread; the kernel keeps 15 bytes.
void headrace_name_this_thread(const char *name);

/// The symbol of an errno value, such as "ENOENT"; NULL for a number that has none.
const char *headrace_errno_name(int number);

/// Cores in the affinity mask of this process.
int headrace_cpu_count(void);

/// Asks for the cache line at `address`, which may be any.
static inline void headrace_prefetch(const void *address) { __builtin_prefetch(address); }

/// Argument `index` of this process; NULL beyond the last.
const char *headrace_argument(int index);

#endif
