// Ceiling of images: RandomResizedCrop to 224 x 224 out of tar shards of JPEGs. Decodes only the rows and columns that
// the crop needs, at the best of libjpeg's fast scales, resizes with an antialiased triangle (weights of 15 bits: one
// multiplication less than a resize that equals Pillow's), flips, and writes normalised f32 CHW or, with --examples 1,
// u8 HWC into a batch of 64 that is used again and again. No order, no defects, no consumer.
#include "common.h"
#include "stream.h"
#include "tar_header.h"

#include <immintrin.h>
#include <jpeglib.h>
#include <math.h>

enum { SIDE = 224, BATCH = 64, MOST_TAPS = 256, MARGIN = 4, RING = 512, WEIGHT_BITS = 15 };

struct axis {
    int start[SIDE], taps[SIDE], stride, from, to;
    int16_t weights[SIDE * MOST_TAPS];
};

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct axis columns, rows;
    uint64_t random;
    int row;
    uint8_t *source, *ring;
    uint8_t line[SIDE * 4];
    uint8_t *batch;
};

static _Thread_local struct decoder *decoder;

static double uniform(void) {
    uint64_t x = decoder->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    decoder->random = x;
    return (double)(x >> 11) * 0x1p-53;
}

struct crop {
    int x, y, width, height;
};

static struct crop random_crop(int width, int height) {
    for (int try = 0; try < 10; try++) {
        double area = width * (double)height * (0.08 + 0.92 * uniform());
        double shape = exp(log(0.75) + (log(4.0 / 3) - log(0.75)) * uniform());
        int w = (int)lrint(sqrt(area * shape)), h = (int)lrint(sqrt(area / shape));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        return (struct crop){(int)(uniform() * (width - w + 1)), (int)(uniform() * (height - h + 1)), w, h};
    }
    return (struct crop){0, 0, width, height};
}

static void weigh(struct axis *axis, double begin, double end, bool mirrored) {
    double scale = (end - begin) / SIDE, reach = scale < 1 ? 1 : scale;
    int highest = (int)ceil(end), lowest = (int)begin;
    axis->stride = ((int)ceil(reach) * 2 + 4) & ~3;
    if (axis->stride > MOST_TAPS) FAIL("an image too large for this program");
    axis->from = highest;
    axis->to = 0;
    for (int place = 0; place < SIDE; place++) {
        double center = begin + ((mirrored ? SIDE - 1 - place : place) + 0.5) * scale, sum = 0, raw[MOST_TAPS];
        int from = (int)(center - reach + 0.5), to = (int)(center + reach + 0.5);
        if (from < lowest) from = lowest;
        if (to > highest) to = highest;
        for (int at = from; at < to; at++) sum += raw[at - from] = fmax(0, 1 - fabs((at - center + 0.5) / reach));
        int16_t *weights = axis->weights + place * axis->stride;
        memset(weights, 0, sizeof *weights * (size_t)axis->stride);
        for (int at = from; at < to; at++) {
            weights[at - from] = (int16_t)fmin(32767, 0.5 + raw[at - from] / sum * (1 << WEIGHT_BITS));
        }
        axis->start[place] = from;
        axis->taps[place] = to - from;
        if (from < axis->from) axis->from = from;
        if (to > axis->to) axis->to = to;
    }
}

// Two rows in the two halves of a register.
static void narrow(const uint8_t *upper, const uint8_t *lower, int first, uint8_t *high, uint8_t *low) {
    const struct axis *axis = &decoder->columns;
    const __m256i front = _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1, 0, -1, 4, -1, 1,
                                           -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1);
    const __m256i back = _mm256_add_epi8(front, _mm256_set1_epi16(8));
    for (int place = 0; place < SIDE; place++) {
        size_t offset = 4 * (size_t)(axis->start[place] - first);
        const int16_t *weights = axis->weights + place * axis->stride;
        __m256i sum = _mm256_set1_epi32(1 << (WEIGHT_BITS - 1));
        for (int tap = 0; tap < axis->taps[place]; tap += 4) {
            __m128i left = _mm_loadu_si128((const __m128i *)(upper + offset + 4 * tap));
            __m128i right = _mm_loadu_si128((const __m128i *)(lower + offset + 4 * tap));
            __m256i four = _mm256_inserti128_si256(_mm256_castsi128_si256(left), right, 1);
            int32_t pairs[2];
            memcpy(pairs, weights + tap, 8);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(four, front), _mm256_set1_epi32(pairs[0])));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(four, back), _mm256_set1_epi32(pairs[1])));
        }
        sum = _mm256_srai_epi32(sum, WEIGHT_BITS);
        sum = _mm256_packus_epi32(sum, sum);
        sum = _mm256_packus_epi16(sum, sum);
        *(int32_t *)(high + 4 * place) = _mm256_extract_epi32(sum, 0);
        *(int32_t *)(low + 4 * place) = _mm256_extract_epi32(sum, 4);
    }
}

static const uint8_t *ring_row(int row) { return decoder->ring + (size_t)(row % RING) * SIDE * 4; }

static void blend(int place) {
    const struct axis *axis = &decoder->rows;
    const __m256i zero = _mm256_setzero_si256();
    for (int at = 0; at < SIDE * 4; at += 32) {
        __m256i half = _mm256_set1_epi32(1 << (WEIGHT_BITS - 1)), sums[4] = {half, half, half, half};
        for (int tap = 0; tap < axis->taps[place]; tap += 2) {
            int32_t pair;
            memcpy(&pair, axis->weights + place * axis->stride + tap, 4);
            __m256i weights = _mm256_set1_epi32(pair);
            __m256i upper = _mm256_loadu_si256((const __m256i *)(ring_row(axis->start[place] + tap) + at));
            __m256i lower = _mm256_loadu_si256((const __m256i *)(ring_row(axis->start[place] + tap + 1) + at));
            __m256i left = _mm256_unpacklo_epi8(upper, lower), right = _mm256_unpackhi_epi8(upper, lower);
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(_mm256_unpacklo_epi8(left, zero), weights));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(_mm256_unpackhi_epi8(left, zero), weights));
            sums[2] = _mm256_add_epi32(sums[2], _mm256_madd_epi16(_mm256_unpacklo_epi8(right, zero), weights));
            sums[3] = _mm256_add_epi32(sums[3], _mm256_madd_epi16(_mm256_unpackhi_epi8(right, zero), weights));
        }
        for (int part = 0; part < 4; part++) sums[part] = _mm256_srai_epi32(sums[part], WEIGHT_BITS);
        __m256i packed =
            _mm256_packus_epi16(_mm256_packus_epi32(sums[0], sums[1]), _mm256_packus_epi32(sums[2], sums[3]));
        _mm256_storeu_si256((__m256i *)(decoder->line + at), packed);
    }
}

static const float mean[3] = {0.485f, 0.456f, 0.406f}, deviation[3] = {0.229f, 0.224f, 0.225f};

static void write_floats(int place, float *image) {
    for (int channel = 0; channel < 3; channel++) {
        float scale = 1 / (255 * deviation[channel]), bias = -mean[channel] / deviation[channel];
        float *row = image + (size_t)(channel * SIDE + place) * SIDE;
        for (int at = 0; at < SIDE; at += 8) {
            __m256i eight = _mm256_loadu_si256((const __m256i *)(decoder->line + 4 * at));
            eight = _mm256_and_si256(_mm256_srli_epi32(eight, 8 * channel), _mm256_set1_epi32(255));
            __m256 values = _mm256_cvtepi32_ps(eight);
            _mm256_storeu_ps(row + at, _mm256_fmadd_ps(values, _mm256_set1_ps(scale), _mm256_set1_ps(bias)));
        }
    }
}

static void write_bytes(int place, uint8_t *image) {
    const __m128i three = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    uint8_t *row = image + (size_t)place * SIDE * 3;
    // Each store's last 4 bytes are overwritten by the next; those of the last row lie behind the image.
    for (int at = 0; at < SIDE; at += 4) {
        __m128i four = _mm_loadu_si128((const __m128i *)(decoder->line + 4 * at));
        _mm_storeu_si128((__m128i *)(row + 3 * at), _mm_shuffle_epi8(four, three));
    }
}

static void decode(const uint8_t *bytes, size_t size, uint8_t *result) {
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    jpeg_mem_src(jpeg, bytes, size);
    jpeg_read_header(jpeg, TRUE);
    struct crop crop = random_crop((int)jpeg->image_width, (int)jpeg->image_height);
    int scale = 8;
    while (scale > 1 && (crop.width < 2 * SIDE * scale || crop.height < 2 * SIDE * scale)) scale /= 2;
    jpeg->scale_num = 1;
    jpeg->scale_denom = (unsigned)scale;
    jpeg->out_color_space = JCS_EXT_RGBX;
    weigh(&decoder->columns, (double)crop.x / scale, (double)(crop.x + crop.width) / scale, uniform() < 0.5);
    weigh(&decoder->rows, (double)crop.y / scale, (double)(crop.y + crop.height) / scale, false);
    jpeg_start_decompress(jpeg);
    int from = decoder->columns.from - MARGIN, to = decoder->columns.to + MARGIN;
    JDIMENSION first = (JDIMENSION)(from < 0 ? 0 : from);
    JDIMENSION width = (to > (int)jpeg->output_width ? jpeg->output_width : (JDIMENSION)to) - first;
    jpeg_crop_scanline(jpeg, &first, &width);
    if (decoder->rows.from > 0) jpeg_skip_scanlines(jpeg, (JDIMENSION)decoder->rows.from);
    size_t stride = (size_t)width * 4 + 64;
    if (2 * stride > 1 << 20) FAIL("an image too wide for this program");
    JSAMPROW lines[2] = {decoder->source, decoder->source + stride};
    int row = decoder->rows.from, place = 0;
    while (place < SIDE) {
        unsigned got = 0;
        while (got < 2 && row + (int)got < decoder->rows.to) got += jpeg_read_scanlines(jpeg, lines + got, 2 - got);
        narrow(lines[0], lines[1], (int)first, (uint8_t *)ring_row(row), (uint8_t *)ring_row(row + 1));
        row += 2;
        for (; place < SIDE && decoder->rows.start[place] + decoder->rows.taps[place] <= row; place++) {
            blend(place);
            if (options.examples) write_bytes(place, result);
            else write_floats(place, (float *)result);
        }
    }
    jpeg_abort_decompress(jpeg);
}

static void prepare(void) {
    decoder = (struct decoder *)kept(sizeof *decoder);
    memset(decoder, 0, sizeof *decoder);
    decoder->jpeg.err = jpeg_std_error(&decoder->errors);
    jpeg_create_decompress(&decoder->jpeg);
    decoder->source = kept(1 << 20);
    decoder->ring = kept((size_t)RING * SIDE * 4);
    decoder->batch = kept((size_t)BATCH * SIDE * SIDE * 3 * 4 + 64);
    decoder->random = 88172645463325252u ^ (uint64_t)(uintptr_t)decoder;
}

static void shard(struct worker *worker) {
    if (!decoder) prepare();
    struct stream stream = {0};
    size_t bytes_each = (size_t)SIDE * SIDE * 3 * (options.examples ? 1 : 4);
    const uint8_t *header;
    while ((header = peek(&stream, worker, 512)) && header[0]) {
        size_t size = octal(header + 124, 11), padded = (size + 511) & ~(size_t)511;
        bool is_image = memmem(header, 100, ".jpg", 4) != NULL;
        stream.start += 512;
        const uint8_t *payload = peek(&stream, worker, padded);
        if (is_image) decode(payload, size, decoder->batch + worker->samples++ % BATCH * bytes_each);
        stream.start += padded;
    }
}

int main(int count, char **arguments) { return measure("ceiling-image", 1 << 20, 8 << 20, count, arguments); }
