#include "tar.h"

#include <stdbool.h>
#include <string.h>

#include "bytes.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { BLOCK = 512, NAME = 100, SIZE = 124, CHECKSUM = 148, TYPE = 156, PREFIX = 345 };

// Sum of the bytes of a block.
static inline uint32_t sum(const uint8_t *block) {
#if defined(__SSE2__)
    __m128i sums = _mm_setzero_si128();
    for (int i = 0; i < BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(block + i));
        sums = _mm_add_epi64(sums, _mm_sad_epu8(bytes, _mm_setzero_si128()));
    }
    return (uint32_t)_mm_cvtsi128_si32(sums) + (uint32_t)_mm_cvtsi128_si32(_mm_srli_si128(sums, 8));
#else
    uint32_t total = 0;
    for (int i = 0; i < BLOCK; i++) total += block[i];
    return total;
#endif
}

// An octal number of at most `count` digits, ended by NUL, space or the field's end; -1 for anything else.
static inline int64_t octal(const uint8_t *field, int count) {
    int64_t value = 0;
    int i = 0;
    while (i < count && field[i] == ' ') i++;
    for (; i < count; i++) {
        uint8_t digit = (uint8_t)(field[i] - '0');
        if (digit > 7) return field[i] == 0 || field[i] == ' ' ? value : -1;
        value = value << 3 | digit;
    }
    return value;
}

static inline bool is_intact(const uint8_t *block) {
    uint64_t field = read64(block + CHECKSUM);
    uint32_t own = 0;
    for (int i = 0; i < 8; i++) own += field >> 8 * i & 0xff;
    return octal(block + CHECKSUM, 8) == (int64_t)(sum(block) - own + 8 * ' ');
}

// Splits the name into key and field; false where the reader's rules say anything else than that it has both.
static inline bool split(const uint8_t *block, struct headrace_member *member) {
    int base = 0, dot = -1, i = 0;
    for (; i < NAME && block[i] != 0; i++) {
        uint8_t c = block[i];
        if (c == '/') {
            base = i + 1;
            dot = -1;
        } else if (c == '.') {
            if (dot < 0) dot = i;
        } else if (c == '\n') {
            return false;
        }
    }
    member->name_length = (int16_t)i;
    member->key_length = (int16_t)dot;
    bool may_be_meta = block[0] == '_' && block[1] == '_';
    return dot > base && !may_be_meta;
}

static inline bool is_plain(
    const uint8_t *bytes, size_t count, size_t at, uint64_t longest, struct headrace_member *member
) {
    if (count - at < BLOCK) return false;
    const uint8_t *block = bytes + at;
    if (block[TYPE] != '0' || block[PREFIX] != 0 || (block[SIZE] & 0x80) != 0) return false;
    int64_t length = octal(block + SIZE, 12);
    if (length < 0 || (uint64_t)length > longest) return false;
    size_t left = count - at - BLOCK;
    if ((uint64_t)length > left || (((uint64_t)length + BLOCK - 1) & ~(uint64_t)(BLOCK - 1)) > left) return false;
    member->offset = (int64_t)at;
    member->length = length;
    return split(block, member) && is_intact(block);
}

static inline bool has_key(const uint8_t *bytes, const struct headrace_member *one, const struct headrace_member *other) {
    return one->key_length == other->key_length &&
           memcmp(bytes + one->offset, bytes + other->offset, (size_t)one->key_length) == 0;
}

size_t headrace_plain_members(
    const void *data, size_t count, uint64_t longest, int is_whole, struct headrace_member *members, size_t capacity,
    size_t *examined
) {
    const uint8_t *bytes = data;
    size_t at = 0, found = 0, whole = 0;
    while (found < capacity && is_plain(bytes, count, at, longest, &members[found])) {
        struct headrace_member *member = &members[found];
        member->continues = found > 0 && has_key(bytes, member - 1, member);
        if (!member->continues) whole = found;
        at += BLOCK + (((size_t)member->length + BLOCK - 1) & ~(size_t)(BLOCK - 1));
        found++;
    }
    *examined = at;
    return is_whole && at == count ? found : whole;
}
