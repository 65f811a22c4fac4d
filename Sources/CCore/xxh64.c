#include "bytes.h"
#include "checksum.h"

#include <string.h>

// XXH64 after its public specification. The zstd seek table and our digests need it; the codec libraries have it
// too, but not where Core could reach it.

static const uint64_t P1 = 0x9e3779b185ebca87u;
static const uint64_t P2 = 0xc2b2ae3d27d4eb4fu;
static const uint64_t P3 = 0x165667b19e3779f9u;
static const uint64_t P4 = 0x85ebca77c2b2ae63u;
static const uint64_t P5 = 0x27d4eb2f165667c5u;

static inline uint64_t rotate(uint64_t value, int bits) {
    return value << bits | value >> (64 - bits);
}

static inline uint64_t absorb(uint64_t lane, uint64_t word) {
    return rotate(lane + word * P2, 31) * P1;
}

static inline uint64_t merge(uint64_t hash, uint64_t lane) {
    return (hash ^ absorb(0, lane)) * P1 + P4;
}

static uint64_t finish(uint64_t hash, const uint8_t *bytes, size_t length) {
    for (; length >= 8; length -= 8, bytes += 8) {
        hash = rotate(hash ^ absorb(0, read64(bytes)), 27) * P1 + P4;
    }
    if (length >= 4) {
        hash = rotate(hash ^ read32(bytes) * P1, 23) * P2 + P3;
        bytes += 4;
        length -= 4;
    }
    for (; length > 0; length--) hash = rotate(hash ^ *bytes++ * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

uint64_t headrace_xxh64(const void *data, size_t length, uint64_t seed) {
    const uint8_t *bytes = data;
    size_t left = length;
    uint64_t hash = seed + P5;
    if (length >= 32) {
        uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
        for (; left >= 32; left -= 32, bytes += 32) {
            a = absorb(a, read64(bytes));
            b = absorb(b, read64(bytes + 8));
            c = absorb(c, read64(bytes + 16));
            d = absorb(d, read64(bytes + 24));
        }
        hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        hash = merge(merge(merge(merge(hash, a), b), c), d);
    }
    return finish(hash + length, bytes, left);
}
