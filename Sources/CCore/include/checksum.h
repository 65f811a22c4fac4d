#ifndef HEADRACE_CHECKSUM_H
#define HEADRACE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

// Every function with `_portable` in its name is the plain C path that the others fall back to on a CPU without
// the instructions; it is declared here so that the tests can hold the fast paths against it.

/// CRC-32C (Castagnoli) of `length` bytes, continuing from `crc` (0 to begin).
uint32_t headrace_crc32c(uint32_t crc, const void *data, size_t length);
uint32_t headrace_crc32c_portable(uint32_t crc, const void *data, size_t length);

/// The path that `headrace_crc32c` takes on this CPU: "sse4.2+pclmul", "sse4.2", "armv8-crc" or "table".
const char *headrace_crc32c_path(void);

struct headrace_span {
    int64_t offset;
    int64_t length;
};

/// Finds the payloads of TFRecords that stand whole in `count` bytes and whose two checksums fit, from the front, at
/// most `capacity` of them. Ends before the first of more than `longest` bytes, or that is damaged or not whole: what
/// that is, the caller has to judge.
size_t headrace_intact_records(
    const void *data, size_t count, uint64_t longest, struct headrace_span *spans, size_t capacity);

/// XXH64 of `length` bytes with `seed`.
uint64_t headrace_xxh64(const void *data, size_t length, uint64_t seed);

struct headrace_xxh32 {
    uint64_t total;
    uint32_t seed;
    uint32_t lanes[4];
    uint8_t stripe[16];
};

void headrace_xxh32_init(struct headrace_xxh32 *context, uint32_t seed);
void headrace_xxh32_update(struct headrace_xxh32 *context, const void *data, size_t length);
uint32_t headrace_xxh32_final(const struct headrace_xxh32 *context);

struct headrace_sha256 {
    uint32_t state[8];
    uint64_t total;
    uint8_t block[64];
};

void headrace_sha256_init(struct headrace_sha256 *context);
void headrace_sha256_update(struct headrace_sha256 *context, const void *data, size_t length);
void headrace_sha256_update_portable(struct headrace_sha256 *context, const void *data, size_t length);
void headrace_sha256_final(struct headrace_sha256 *context, uint8_t digest[32]);

struct headrace_md5 {
    uint32_t state[4];
    uint64_t total;
    uint8_t block[64];
};

void headrace_md5_init(struct headrace_md5 *context);
void headrace_md5_update(struct headrace_md5 *context, const void *data, size_t length);
void headrace_md5_final(struct headrace_md5 *context, uint8_t digest[16]);

/// The path that `headrace_sha256_update` takes on this CPU: "sha-ni" or "portable".
const char *headrace_sha256_path(void);

#endif
