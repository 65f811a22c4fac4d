#include "resize.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

// The same sums as in resize.c, bit for bit. Chosen at run time, so the package needs no flags for a CPU; FMA stays
// out, because it would round once where the others round twice.

#define VECTORS __attribute__((target("avx2")))

/// At most so many taps are read behind the last pixel of a row, where there is slack.
enum { FEW_TAPS = HEADRACE_ROW_SLACK / 4 / 2 };

/// What is the same for every pixel of a row.
typedef struct {
    /// Pixels 0 and 1, or 2 and 3, of 4 bytes each, as four pairs of 16-bit numbers, a pair a channel.
    __m256i front, back, half;
} constants;

VECTORS static inline constants make_constants(void) {
    constants it;
    it.front = _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1, 0, -1, 4, -1, 1, -1, 5, -1, 2,
                                -1, 6, -1, 3, -1, 7, -1);
    it.back = _mm256_add_epi8(it.front, _mm256_set1_epi16(8));
    it.half = _mm256_set1_epi32(1 << (HEADRACE_WEIGHT_BITS - 1));
    return it;
}

/// Two rows at once, one in each half of a register: weights are broadcast to both. The channels of one pixel of the
/// result, 32 bits each. `few`: the taps of every pixel, where they are so few that it is better to multiply by some
/// zeros than to have the processor guess the number.
VECTORS static inline __m256i pixel_of(const headrace_image_axis *axis, int32_t place, const uint8_t *const rows[2],
                                       int32_t first_column, int32_t few, const constants *it) {
    size_t offset = 4 * (size_t)(axis->start[place] - first_column);
    const uint8_t *upper = rows[0] + offset, *lower = rows[1] + offset;
    const int16_t *high = axis->high + (size_t)place * axis->stride;
    const int16_t *low = axis->low + (size_t)place * axis->stride;
    __m256i highs = _mm256_setzero_si256(), lows = it->half;
    int32_t taps = few ? few : axis->taps[place];
    for (int32_t tap = 0; tap < taps; tap += 4) {
        __m256i four = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(upper + 4 * tap))),
            _mm_loadu_si128((const __m128i *)(lower + 4 * tap)), 1);
        int32_t weights[4];
        memcpy(weights, high + tap, 8);
        memcpy(weights + 2, low + tap, 8);
        __m256i first = _mm256_shuffle_epi8(four, it->front), second = _mm256_shuffle_epi8(four, it->back);
        highs = _mm256_add_epi32(highs, _mm256_madd_epi16(first, _mm256_set1_epi32(weights[0])));
        lows = _mm256_add_epi32(lows, _mm256_madd_epi16(first, _mm256_set1_epi32(weights[2])));
        highs = _mm256_add_epi32(highs, _mm256_madd_epi16(second, _mm256_set1_epi32(weights[1])));
        lows = _mm256_add_epi32(lows, _mm256_madd_epi16(second, _mm256_set1_epi32(weights[3])));
    }
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(highs, HEADRACE_WEIGHT_LOW_BITS), lows);
    return _mm256_srai_epi32(sum, HEADRACE_WEIGHT_BITS);
}

VECTORS static void horizontal(const headrace_image_axis *axis, const uint8_t *const rows[2], int32_t first_column,
                               uint8_t *const results[2]) {
    constants it = make_constants();
    int32_t few = axis->most_taps <= FEW_TAPS ? axis->most_taps : 0, place = 0;
    for (; place + 4 <= axis->size; place += 4) {
        __m256i first = pixel_of(axis, place, rows, first_column, few, &it);
        __m256i second = pixel_of(axis, place + 1, rows, first_column, few, &it);
        __m256i third = pixel_of(axis, place + 2, rows, first_column, few, &it);
        __m256i fourth = pixel_of(axis, place + 3, rows, first_column, few, &it);
        __m256i packed = _mm256_packus_epi16(_mm256_packus_epi32(first, second), _mm256_packus_epi32(third, fourth));
        _mm_storeu_si128((__m128i *)(results[0] + 4 * (size_t)place), _mm256_castsi256_si128(packed));
        _mm_storeu_si128((__m128i *)(results[1] + 4 * (size_t)place), _mm256_extracti128_si256(packed, 1));
    }
    for (; place < axis->size; place++) {
        __m256i sum = pixel_of(axis, place, rows, first_column, few, &it);
        sum = _mm256_packus_epi16(_mm256_packus_epi32(sum, sum), sum);
        int32_t pixel = _mm256_extract_epi32(sum, 0);
        memcpy(results[0] + 4 * (size_t)place, &pixel, 4);
        pixel = _mm256_extract_epi32(sum, 4);
        memcpy(results[1] + 4 * (size_t)place, &pixel, 4);
    }
}

VECTORS static void vertical(const uint8_t *const *rows, int32_t taps, const int16_t *high, const int16_t *low,
                             size_t count, uint8_t *result) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i half = _mm256_set1_epi32(1 << (HEADRACE_WEIGHT_BITS - 1));
    for (size_t at = 0; at < count; at += 32) {
        __m256i highs[4] = {zero, zero, zero, zero}, lows[4] = {half, half, half, half};
        for (int32_t tap = 0; tap < taps; tap += 2) {
            int32_t high_pair, low_pair;
            memcpy(&high_pair, high + tap, 4);
            memcpy(&low_pair, low + tap, 4);
            __m256i high_weights = _mm256_set1_epi32(high_pair), low_weights = _mm256_set1_epi32(low_pair);
            __m256i upper = _mm256_loadu_si256((const __m256i *)(rows[tap] + at));
            __m256i lower = _mm256_loadu_si256((const __m256i *)(rows[tap + 1] + at));
            __m256i left = _mm256_unpacklo_epi8(upper, lower), right = _mm256_unpackhi_epi8(upper, lower);
            __m256i pairs[4] = {_mm256_unpacklo_epi8(left, zero), _mm256_unpackhi_epi8(left, zero),
                                _mm256_unpacklo_epi8(right, zero), _mm256_unpackhi_epi8(right, zero)};
            for (int part = 0; part < 4; part++) {
                highs[part] = _mm256_add_epi32(highs[part], _mm256_madd_epi16(pairs[part], high_weights));
                lows[part] = _mm256_add_epi32(lows[part], _mm256_madd_epi16(pairs[part], low_weights));
            }
        }
        for (int part = 0; part < 4; part++) {
            __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(highs[part], HEADRACE_WEIGHT_LOW_BITS), lows[part]);
            highs[part] = _mm256_srai_epi32(sum, HEADRACE_WEIGHT_BITS);
        }
        __m256i packed = _mm256_packus_epi16(_mm256_packus_epi32(highs[0], highs[1]),
                                             _mm256_packus_epi32(highs[2], highs[3]));
        _mm256_storeu_si256((__m256i *)(result + at), packed);
    }
}

VECTORS static void pack(const uint8_t *pixels, int32_t count, uint8_t *result) {
    const __m128i three = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    int32_t at = 0;
    // A store writes 16 bytes, of which 12 count: the next one overwrites the rest.
    for (; at + 8 <= count; at += 4) {
        __m128i four = _mm_loadu_si128((const __m128i *)(pixels + 4 * (size_t)at));
        _mm_storeu_si128((__m128i *)(result + 3 * (size_t)at), _mm_shuffle_epi8(four, three));
    }
    for (; at < count; at++) memcpy(result + 3 * (size_t)at, pixels + 4 * (size_t)at, 3);
}

VECTORS static void plane(const uint8_t *pixels, int32_t count, int32_t channel, float scale, float bias,
                          float *result) {
    const __m256 scales = _mm256_set1_ps(scale), biases = _mm256_set1_ps(bias);
    const __m256i byte = _mm256_set1_epi32(255);
    const __m128i shift = _mm_cvtsi32_si128(8 * channel);
    int32_t at = 0;
    for (; at + 8 <= count; at += 8) {
        __m256i eight = _mm256_loadu_si256((const __m256i *)(pixels + 4 * (size_t)at));
        __m256 values = _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srl_epi32(eight, shift), byte));
        _mm256_storeu_ps(result + at, _mm256_add_ps(_mm256_mul_ps(values, scales), biases));
    }
    for (; at < count; at++) result[at] = (float)pixels[4 * (size_t)at + (size_t)channel] * scale + bias;
}

VECTORS static const uint8_t *marker(const uint8_t *from, const uint8_t *to) {
    const __m256i start = _mm256_set1_epi8((char)0xff), zero = _mm256_setzero_si256();
    for (; to - from > 32; from += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)from);
        __m256i stuffed = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(from + 1)), zero);
        unsigned found =
            (unsigned)_mm256_movemask_epi8(_mm256_andnot_si256(stuffed, _mm256_cmpeq_epi8(bytes, start)));
        if (found) return from + __builtin_ctz(found);
    }
    for (; to - from >= 2; from++) {
        if (from[0] == 0xff && from[1] != 0) return from;
    }
    return to;
}

const headrace_image_functions headrace_image_avx2 = {horizontal, vertical, pack, plane, marker};

#endif
