#include "bytes.h"
#include "checksum.h"

#include <string.h>

// XXH32 after its public specification: the checksum of LZ4 frames. Streamed, because a frame's checksum covers all
// its blocks, which are decompressed one after the other.

static const uint32_t P1 = 0x9e3779b1u;
static const uint32_t P2 = 0x85ebca77u;
static const uint32_t P3 = 0xc2b2ae3du;
static const uint32_t P4 = 0x27d4eb2fu;
static const uint32_t P5 = 0x165667b1u;

static inline uint32_t rotate(uint32_t value, int bits) {
    return value << bits | value >> (32 - bits);
}

static inline uint32_t absorb(uint32_t lane, uint32_t word) {
    return rotate(lane + word * P2, 13) * P1;
}

// Four independent lanes, so that the CPU multiplies for all of them at once.
static const uint8_t *absorb_stripes(uint32_t lanes[4], const uint8_t *bytes, size_t stripes) {
    uint32_t a = lanes[0], b = lanes[1], c = lanes[2], d = lanes[3];
    for (; stripes > 0; stripes--, bytes += 16) {
        a = absorb(a, read32(bytes));
        b = absorb(b, read32(bytes + 4));
        c = absorb(c, read32(bytes + 8));
        d = absorb(d, read32(bytes + 12));
    }
    lanes[0] = a;
    lanes[1] = b;
    lanes[2] = c;
    lanes[3] = d;
    return bytes;
}

void headrace_xxh32_init(struct headrace_xxh32 *context, uint32_t seed) {
    memset(context, 0, sizeof *context);
    context->seed = seed;
    context->lanes[0] = seed + P1 + P2;
    context->lanes[1] = seed + P2;
    context->lanes[2] = seed;
    context->lanes[3] = seed - P1;
}

void headrace_xxh32_update(struct headrace_xxh32 *context, const void *data, size_t length) {
    if (length == 0) return;
    const uint8_t *bytes = data;
    size_t held = context->total % 16;
    context->total += length;
    if (held > 0) {
        size_t taken = 16 - held < length ? 16 - held : length;
        memcpy(context->stripe + held, bytes, taken);
        bytes += taken;
        length -= taken;
        if (held + taken < 16) return;
        absorb_stripes(context->lanes, context->stripe, 1);
    }
    bytes = absorb_stripes(context->lanes, bytes, length / 16);
    memcpy(context->stripe, bytes, length % 16);
}

uint32_t headrace_xxh32_final(const struct headrace_xxh32 *context) {
    const uint32_t *lanes = context->lanes;
    uint32_t hash = context->total < 16
        ? context->seed + P5
        : rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
    hash += (uint32_t)context->total;
    const uint8_t *bytes = context->stripe;
    size_t left = context->total % 16;
    for (; left >= 4; left -= 4, bytes += 4) hash = rotate(hash + read32(bytes) * P3, 17) * P4;
    for (; left > 0; left--) hash = rotate(hash + *bytes++ * P5, 11) * P1;
    hash = (hash ^ hash >> 15) * P2;
    hash = (hash ^ hash >> 13) * P3;
    return hash ^ hash >> 16;
}
