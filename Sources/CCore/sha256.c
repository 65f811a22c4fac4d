#include "checksum.h"

#include <string.h>

// SHA-256 after FIPS 180-4: plain C, and the SHA instructions of x86-64 where the CPU has them.

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

typedef void compressor(uint32_t state[8], const uint8_t *blocks, size_t count);

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t value, int bits) {
    return value >> bits | value << (32 - bits);
}

static void schedule(uint32_t words[64], const uint8_t *block) {
    for (int i = 0; i < 16; i++) {
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16
            | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t near = words[i - 15], far = words[i - 2];
        words[i] = words[i - 16] + words[i - 7] + (rotate(near, 7) ^ rotate(near, 18) ^ near >> 3)
            + (rotate(far, 17) ^ rotate(far, 19) ^ far >> 10);
    }
}

static void compress_portable(uint32_t state[8], const uint8_t *blocks, size_t count) {
    for (; count > 0; count--, blocks += 64) {
        uint32_t words[64];
        schedule(words, blocks);
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int i = 0; i < 64; i++) {
            uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i]
                + words[i];
            uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            h = g;
            g = f;
            f = e;
            e = d + one;
            d = c;
            c = b;
            b = a;
            a = one + two;
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

static compressor *chosen = compress_portable;

#if defined(__x86_64__)

#define SHA_TARGET __attribute__((target("sha,sse4.1,ssse3")))

// The instructions hold the state as the pairs ABEF and CDGH, two rounds at a time.
SHA_TARGET static void compress_sha(uint32_t state[8], const uint8_t *blocks, size_t count) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; count > 0; count--, blocks += 64) {
        __m128i abef_before = abef, cdgh_before = cdgh, words[4];
        for (int i = 0; i < 4; i++) {
            words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(blocks + 16 * i)), swap);
        }
        // Unrolled by the compiler, so that `words` stays in registers.
#pragma clang loop unroll(full)
        for (int i = 0; i < 16; i++) {
            __m128i current = words[i & 3];
            __m128i keyed = _mm_add_epi32(current, _mm_load_si128((const __m128i *)K + i));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, keyed);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(keyed, 0x0e));
            if (i < 12) {
                // The four words that this group's registers hold next: W[t+16..t+19].
                __m128i next = _mm_sha256msg1_epu32(current, words[(i + 1) & 3]);
                __m128i middle = _mm_alignr_epi8(words[(i + 3) & 3], words[(i + 2) & 3], 4);
                words[i & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(next, middle), words[(i + 3) & 3]);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

__attribute__((constructor)) static void choose(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3)) return;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_SHA)) return;
    chosen = compress_sha;
}

#endif

const char *headrace_sha256_path(void) { return chosen == compress_portable ? "portable" : "sha-ni"; }

void headrace_sha256_init(struct headrace_sha256 *context) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(context, 0, sizeof *context);
    memcpy(context->state, start, sizeof start);
}

static void update(struct headrace_sha256 *context, const uint8_t *bytes, size_t length, compressor *compress) {
    size_t held = context->total & 63;
    context->total += length;
    if (held > 0) {
        size_t taken = 64 - held < length ? 64 - held : length;
        memcpy(context->block + held, bytes, taken);
        if (held + taken < 64) return;
        compress(context->state, context->block, 1);
        bytes += taken;
        length -= taken;
    }
    if (length >= 64) compress(context->state, bytes, length / 64);
    if (length & 63) memcpy(context->block, bytes + (length & ~(size_t)63), length & 63);
}

void headrace_sha256_update(struct headrace_sha256 *context, const void *data, size_t length) {
    if (length > 0) update(context, data, length, chosen);
}

void headrace_sha256_update_portable(struct headrace_sha256 *context, const void *data, size_t length) {
    if (length > 0) update(context, data, length, compress_portable);
}

void headrace_sha256_final(struct headrace_sha256 *context, uint8_t digest[32]) {
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = context->total * 8;
    size_t held = context->total & 63;
    headrace_sha256_update(context, padding, (held < 56 ? 56 : 120) - held);
    uint8_t tail[8];
    for (int i = 0; i < 8; i++) tail[i] = (uint8_t)(bits >> (56 - 8 * i));
    headrace_sha256_update(context, tail, 8);
    for (int i = 0; i < 32; i++) digest[i] = (uint8_t)(context->state[i / 4] >> (24 - 8 * (i & 3)));
}
