#include "bytes.h"
#include "checksum.h"

#include <string.h>

// CRC-32C three ways: a table on any CPU, the CRC instruction of SSE4.2 or ARMv8, and, where carry-less
// multiplication is there too, three instruction streams at once. The instruction takes three cycles but one can
// start every cycle, so a single stream wastes two thirds of the unit; three streams over adjoining blocks fill it.

#if defined(__x86_64__)
#include <cpuid.h>
#include <nmmintrin.h>
#include <wmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

enum path { TABLE, ONE_STREAM, THREE_STREAMS };

#define POLYNOMIAL 0x82f63b78u

// Slicing by 8: table[k][b] is the CRC of byte b followed by k zero bytes.
static uint32_t table[8][256];
static enum path chosen = TABLE;

static void fill_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[0][byte] = crc;
    }
    for (int slice = 1; slice < 8; slice++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t previous = table[slice - 1][byte];
            table[slice][byte] = previous >> 8 ^ table[0][previous & 0xff];
        }
    }
}

uint32_t headrace_crc32c_portable(uint32_t crc, const void *data, size_t length) {
    const uint8_t *bytes = data;
    crc = ~crc;
    while (length >= 8) {
        uint64_t word = read64(bytes) ^ crc;
        crc = table[7][word & 0xff] ^ table[6][word >> 8 & 0xff] ^ table[5][word >> 16 & 0xff]
            ^ table[4][word >> 24 & 0xff] ^ table[3][word >> 32 & 0xff] ^ table[2][word >> 40 & 0xff]
            ^ table[1][word >> 48 & 0xff] ^ table[0][word >> 56];
        bytes += 8;
        length -= 8;
    }
    for (; length > 0; length--) crc = crc >> 8 ^ table[0][(crc ^ *bytes++) & 0xff];
    return ~crc;
}

static uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

// Body of a walk over TFRecords with the given function for a CRC from the beginning.
#define WALK_RECORDS(CRC) \
    size_t found = 0, at = 0; \
    while (found < capacity && count - at >= 16) { \
        const uint8_t *record = bytes + at; \
        uint64_t length = read64(record); \
        if (length > longest || length > count - at - 16) break; \
        if (masked(CRC(record, 8)) != read32(record + 8)) break; \
        if (masked(CRC(record + 12, length)) != read32(record + 12 + length)) break; \
        spans[found].offset = (int64_t)(at + 12); \
        spans[found].length = (int64_t)length; \
        found++; \
        at += length + 16; \
    } \
    return found;

static uint32_t from_beginning(const uint8_t *bytes, size_t length) { return headrace_crc32c(0, bytes, length); }

static size_t records(
    const uint8_t *bytes, size_t count, uint64_t longest, struct headrace_span *spans, size_t capacity
) {
    WALK_RECORDS(from_beginning)
}

#if defined(__x86_64__)

// Words (of 8 bytes) of one stream in one round: long enough that joining the streams costs little.
#define LONGEST_STREAM 256
// Below this many bytes one stream is faster than joining three.
#define SHORTEST_FOR_THREE 240

// shift[m] = x^(64m - 33) mod P, bit-reflected. Multiplying a CRC by it and reducing the product by one more CRC
// instruction (which itself multiplies by x^33) moves the CRC over m words of zeros.
static uint32_t shift[2 * LONGEST_STREAM + 1];

__attribute__((target("sse4.2"))) static void fill_shift(void) {
    shift[1] = 1;  // x^31
    for (int words = 2; words <= 2 * LONGEST_STREAM; words++) {
        shift[words] = (uint32_t)_mm_crc32_u64(shift[words - 1], 0);
    }
}

__attribute__((target("sse4.2"))) static inline uint32_t one_stream(
    uint32_t state, const uint8_t *bytes, size_t length
) {
    uint64_t crc = state;
    while (length >= 8) {
        crc = _mm_crc32_u64(crc, read64(bytes));
        bytes += 8;
        length -= 8;
    }
    uint32_t rest = (uint32_t)crc;
    if (length & 4) {
        uint32_t word;
        memcpy(&word, bytes, sizeof word);
        rest = _mm_crc32_u32(rest, word);
        bytes += 4;
    }
    if (length & 2) {
        uint16_t half;
        memcpy(&half, bytes, sizeof half);
        rest = _mm_crc32_u16(rest, half);
        bytes += 2;
    }
    if (length & 1) rest = _mm_crc32_u8(rest, *bytes);
    return rest;
}

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t product(uint64_t crc, uint32_t factor) {
    __m128i both = _mm_clmulepi64_si128(
        _mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128((long long)factor), 0);
    return (uint64_t)_mm_cvtsi128_si64(both);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t three_streams(
    uint32_t state, const uint8_t *bytes, size_t length
) {
    uint64_t first = state;
    while (length >= SHORTEST_FOR_THREE) {
        size_t words = length / 24;
        if (words > LONGEST_STREAM) words = LONGEST_STREAM;
        const uint8_t *second_block = bytes + words * 8;
        const uint8_t *third_block = second_block + words * 8;
        uint64_t second = 0, third = 0;
        size_t end = (words - 1) * 8;
        for (size_t at = 0; at < end; at += 8) {
            first = _mm_crc32_u64(first, read64(bytes + at));
            second = _mm_crc32_u64(second, read64(second_block + at));
            third = _mm_crc32_u64(third, read64(third_block + at));
        }
        first = _mm_crc32_u64(first, read64(bytes + end));
        second = _mm_crc32_u64(second, read64(second_block + end));
        // The instruction is linear, so the third stream's last word carries the other two products along.
        uint64_t moved = product(first, shift[2 * words]) ^ product(second, shift[words]);
        first = _mm_crc32_u64(third, read64(third_block + end) ^ moved);
        bytes += words * 24;
        length -= words * 24;
    }
    return one_stream((uint32_t)first, bytes, length);
}

__attribute__((target("sse4.2"))) static uint32_t single(uint32_t crc, const void *data, size_t length) {
    return ~one_stream(~crc, data, length);
}

__attribute__((target("sse4.2"))) static inline uint32_t short_or_long(const uint8_t *bytes, size_t length) {
    if (length < SHORTEST_FOR_THREE) return ~one_stream(~0u, bytes, length);
    return headrace_crc32c(0, bytes, length);
}

// The loop is compiled for the instruction, so that of a small record nothing is called: the CPU works on the
// checksums of several records at once.
__attribute__((target("sse4.2"))) static size_t records_with_instruction(
    const uint8_t *bytes, size_t count, uint64_t longest, struct headrace_span *spans, size_t capacity
) {
    WALK_RECORDS(short_or_long)
}

__attribute__((constructor)) static void choose(void) {
    fill_table();
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_2)) return;
    fill_shift();
    chosen = c & bit_PCLMUL ? THREE_STREAMS : ONE_STREAM;
}

uint32_t headrace_crc32c(uint32_t crc, const void *data, size_t length) {
    if (chosen == TABLE) return headrace_crc32c_portable(crc, data, length);
    if (length < SHORTEST_FOR_THREE || chosen == ONE_STREAM) return single(crc, data, length);
    return ~three_streams(~crc, data, length);
}

#elif defined(__aarch64__)

__attribute__((target("crc"))) static uint32_t one_stream(uint32_t crc, const uint8_t *bytes, size_t length) {
    while (length >= 8) {
        crc = __crc32cd(crc, read64(bytes));
        bytes += 8;
        length -= 8;
    }
    for (; length > 0; length--) crc = __crc32cb(crc, *bytes++);
    return crc;
}

__attribute__((constructor)) static void choose(void) {
    fill_table();
    if (getauxval(AT_HWCAP) & HWCAP_CRC32) chosen = ONE_STREAM;
}

uint32_t headrace_crc32c(uint32_t crc, const void *data, size_t length) {
    if (chosen == TABLE) return headrace_crc32c_portable(crc, data, length);
    return ~one_stream(~crc, data, length);
}

#else

__attribute__((constructor)) static void choose(void) { fill_table(); }

uint32_t headrace_crc32c(uint32_t crc, const void *data, size_t length) {
    return headrace_crc32c_portable(crc, data, length);
}

#endif

const char *headrace_crc32c_path(void) {
    if (chosen == TABLE) return "table";
#if defined(__aarch64__)
    return "armv8-crc";
#else
    return chosen == THREE_STREAMS ? "sse4.2+pclmul" : "sse4.2";
#endif
}

size_t headrace_intact_records(
    const void *data, size_t count, uint64_t longest, struct headrace_span *spans, size_t capacity
) {
#if defined(__x86_64__)
    if (chosen != TABLE) return records_with_instruction(data, count, longest, spans, capacity);
#endif
    return records(data, count, longest, spans, capacity);
}
