#include "bytes.h"
#include "checksum.h"

// MD5 after RFC 1321. No protection against anybody, but what the index of wids wants of each shard.

static const uint32_t K[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static inline uint32_t rotate(uint32_t value, int bits) {
    return value << bits | value >> (32 - bits);
}

#define STEP(f, x, s) \
    do { \
        uint32_t next = b + rotate(a + (f) + K[i] + words[x], s); \
        a = d; \
        d = c; \
        c = b; \
        b = next; \
        i++; \
    } while (0)

#define ROUND(f, x, s0, s1, s2, s3) \
    for (int group = 0; group < 4; group++) { \
        STEP(f, (x) & 15, s0); \
        STEP(f, (x) & 15, s1); \
        STEP(f, (x) & 15, s2); \
        STEP(f, (x) & 15, s3); \
    }

static void compress(uint32_t state[4], const uint8_t *blocks, size_t count) {
    for (; count > 0; count--, blocks += 64) {
        uint32_t words[16];
        for (int word = 0; word < 16; word++) words[word] = read32(blocks + 4 * word);
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        int i = 0;
        ROUND(d ^ (b & (c ^ d)), i, 7, 12, 17, 22);
        ROUND(c ^ (d & (b ^ c)), 5 * i + 1, 5, 9, 14, 20);
        ROUND(b ^ c ^ d, 3 * i + 5, 4, 11, 16, 23);
        ROUND(c ^ (b | ~d), 7 * i, 6, 10, 15, 21);
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
    }
}

void headrace_md5_init(struct headrace_md5 *context) {
    static const uint32_t start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    memset(context, 0, sizeof *context);
    memcpy(context->state, start, sizeof start);
}

void headrace_md5_update(struct headrace_md5 *context, const void *data, size_t length) {
    const uint8_t *bytes = data;
    size_t held = context->total & 63;
    context->total += length;
    if (length == 0) return;
    if (held > 0) {
        size_t taken = 64 - held < length ? 64 - held : length;
        memcpy(context->block + held, bytes, taken);
        if (held + taken < 64) return;
        compress(context->state, context->block, 1);
        bytes += taken;
        length -= taken;
    }
    compress(context->state, bytes, length / 64);
    if (length & 63) memcpy(context->block, bytes + (length & ~(size_t)63), length & 63);
}

void headrace_md5_final(struct headrace_md5 *context, uint8_t digest[16]) {
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = context->total * 8;
    size_t held = context->total & 63;
    headrace_md5_update(context, padding, (held < 56 ? 56 : 120) - held);
    uint8_t tail[8];
    for (int i = 0; i < 8; i++) tail[i] = (uint8_t)(bits >> (8 * i));
    headrace_md5_update(context, tail, 8);
    for (int i = 0; i < 16; i++) digest[i] = (uint8_t)(context->state[i / 4] >> (8 * (i & 3)));
}
