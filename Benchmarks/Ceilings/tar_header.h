// Just enough of tar for a ceiling: regular ustar members, grouped by what precedes the first dot of the base name.
#include <immintrin.h>

static inline uint64_t octal(const uint8_t *digits, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count && digits[i] >= '0' && digits[i] <= '7'; i++) value = value * 8 + digits[i] - '0';
    return value;
}

static inline uint32_t header_sum(const uint8_t *header) {
    __m128i sum = _mm_setzero_si128();
    for (int i = 0; i < 512; i += 16)
        sum = _mm_add_epi64(sum, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(header + i)), _mm_setzero_si128()));
    uint32_t total = (uint32_t)(_mm_cvtsi128_si64(sum) + _mm_extract_epi64(sum, 1)) + 8 * ' ';
    for (int i = 148; i < 156; i++) total -= header[i];
    return total;
}

struct tar_walk {
    size_t next;  // Where the next header is.
    uint8_t key[100];
    int key_length;
    bool ended;
};

// Goes over the headers in `length` bytes that lie at `start` of the shard; both are multiples of 512.
static inline void walk_tar(struct tar_walk *walk, const uint8_t *bytes, size_t start, size_t length,
                            struct worker *worker) {
    while (!walk->ended && walk->next + 512 <= start + length) {
        const uint8_t *header = bytes + (walk->next - start);
        if (header[0] == 0) {
            walk->ended = true;
            break;
        }
        if (header_sum(header) != octal(header + 148, 6)) FAIL("%s: bad header at %zu", worker->file, walk->next);
        if (header[156] != '0') FAIL("%s: member of type %c at %zu", worker->file, header[156], walk->next);
        const uint8_t *end = memchr(header, 0, 100), *dot;
        int name = end ? (int)(end - header) : 100;
        const uint8_t *slash = memrchr(header, '/', (size_t)name), *base = slash ? slash + 1 : header;
        dot = memchr(base, '.', (size_t)(header + name - base));
        int key = dot ? (int)(dot - header) : name;
        if (key != walk->key_length || memcmp(walk->key, header, (size_t)key)) {
            worker->samples++;
            memcpy(walk->key, header, (size_t)key);
            walk->key_length = key;
        }
        walk->next += 512 + ((octal(header + 124, 11) + 511) & ~(size_t)511);
    }
}

static inline void end_tar(const struct tar_walk *walk, const struct worker *worker) {
    if (!walk->ended) FAIL("%s ends at %zu without the mark of a tar's end", worker->file, walk->next);
}
