#include "pixels.h"

#include <string.h>

#pragma STDC FP_CONTRACT OFF

static uint8_t scaled(uint32_t a, uint32_t b) {
    uint32_t product = a * b + 128;
    return (uint8_t)(((product >> 8) + product) >> 8);
}

void headrace_pixels_from_cmyk(uint8_t *pixels, int32_t count) {
    for (uint8_t *at = pixels, *end = pixels + 4 * (size_t)count; at < end; at += 4) {
        uint32_t white = at[3];
        for (int channel = 0; channel < 3; channel++) {
            at[channel] = (uint8_t)(white - scaled(255u - at[channel], white));
        }
        at[3] = 255;
    }
}

void headrace_pixels_blend(uint8_t *pixels, int32_t count, int32_t alpha) {
    if (alpha == HEADRACE_ALPHA_DROP) return;
    uint32_t ground = alpha == HEADRACE_ALPHA_ON_WHITE ? 255 : 0;
    for (uint8_t *at = pixels, *end = pixels + 4 * (size_t)count; at < end; at += 4) {
        uint32_t opacity = at[3];
        for (int channel = 0; channel < 3; channel++) {
            at[channel] = (uint8_t)((at[channel] * opacity + ground * (255 - opacity) + 127) / 255);
        }
    }
}

// MARK: Colour

/// Luma of ITU-R 601-2, as Pillow computes it.
static uint8_t luma(const uint8_t *pixel) {
    return (uint8_t)((pixel[0] * 19595u + pixel[1] * 38470u + pixel[2] * 7471u + 0x8000u) >> 16);
}

/// `from` moved towards `to` or, with factors above 65536, beyond it.
static uint8_t between(int32_t from, int32_t to, int32_t factor) {
    int64_t value = ((int64_t)from * (65536 - factor) + (int64_t)to * factor + 32768) >> 16;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

static int32_t mean_luma(const uint8_t *pixels, size_t stride, int32_t width, int32_t height) {
    uint64_t sum = 0, count = (uint64_t)width * (uint64_t)height;
    for (int32_t row = 0; row < height; row++) {
        const uint8_t *line = pixels + (size_t)row * stride;
        for (int32_t column = 0; column < width; column++) sum += luma(line + 4 * (size_t)column);
    }
    return (int32_t)((2 * sum + count) / (2 * count));
}

static void saturate(uint8_t *pixels, size_t stride, int32_t width, int32_t height, int32_t factor) {
    for (int32_t row = 0; row < height; row++) {
        uint8_t *at = pixels + (size_t)row * stride;
        for (uint8_t *end = at + 4 * (size_t)width; at < end; at += 4) {
            int32_t grey = luma(at);
            for (int channel = 0; channel < 3; channel++) at[channel] = between(grey, at[channel], factor);
        }
    }
}

/// Every byte through a table: away from, or towards, one grey.
static void spread(uint8_t *pixels, size_t stride, int32_t width, int32_t height, int32_t grey, int32_t factor) {
    uint8_t table[256];
    for (int32_t value = 0; value < 256; value++) table[value] = between(grey, value, factor);
    for (int32_t row = 0; row < height; row++) {
        uint8_t *at = pixels + (size_t)row * stride;
        for (uint8_t *end = at + 4 * (size_t)width; at < end; at++) *at = table[*at];
    }
}

void headrace_pixels_jitter(uint8_t *pixels, size_t stride, int32_t width, int32_t height,
                            const headrace_image_jitter *jitter) {
    for (int step = 0; step < 3; step++) {
        int32_t factor = jitter->factor[step];
        switch (jitter->operation[step]) {
            case HEADRACE_JITTER_BRIGHTNESS: spread(pixels, stride, width, height, 0, factor); break;
            case HEADRACE_JITTER_CONTRAST:
                spread(pixels, stride, width, height, mean_luma(pixels, stride, width, height), factor);
                break;
            case HEADRACE_JITTER_SATURATION: saturate(pixels, stride, width, height, factor); break;
            default: break;
        }
    }
}

// MARK: Layout

/// To the nearest, ties to even; numbers too small for f16's exponent become subnormal or zero.
static uint16_t half_precision(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x33000001) return (uint16_t)sign;
    uint32_t exponent = magnitude >> 23, fraction = (magnitude & 0x7fffff) | 0x800000;
    uint32_t shift = exponent < 113 ? 126 - exponent : 13;
    uint32_t kept = fraction >> shift, rest = fraction & ((1u << shift) - 1), tie = 1u << (shift - 1);
    if (rest > tie || (rest == tie && (kept & 1))) kept++;
    // A carry out of the fraction moves into the exponent, as it should.
    return (uint16_t)(sign | (exponent < 113 ? kept : kept + ((exponent - 113) << 10)));
}

static uint16_t brain_precision(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t short_value(const headrace_image_layout *layout, uint8_t byte, int32_t channel) {
    float value = (float)byte * layout->scale[channel] + layout->bias[channel];
    return layout->element == HEADRACE_IMAGE_F16 ? half_precision(value) : brain_precision(value);
}

void headrace_pixels_prepare(headrace_image_context *context) {
    const headrace_image_layout *layout = &context->layout;
    bool is_short = layout->element == HEADRACE_IMAGE_F16 || layout->element == HEADRACE_IMAGE_BF16;
    // All pictures of a field have one layout.
    if (!is_short || memcmp(layout, &context->shorts_layout, sizeof *layout) == 0) return;
    context->shorts_layout = *layout;
    for (int32_t channel = 0; channel < 3; channel++) {
        for (int32_t byte = 0; byte < 256; byte++) {
            context->shorts[channel][byte] = short_value(layout, (uint8_t)byte, channel);
        }
    }
}

/// Leaves one channel, red, of a grey picture.
static void make_grey(uint8_t *line, int32_t count) {
    for (uint8_t *at = line, *end = line + 4 * (size_t)count; at < end; at += 4) at[0] = luma(at);
}

static void write_bytes(const headrace_image_context *context, int32_t row, const uint8_t *line, int32_t width,
                        int32_t height) {
    const headrace_image_layout *layout = &context->layout;
    size_t across = (size_t)width, place = (size_t)row * across;
    if (layout->channels == 3 && !layout->planar) {
        context->functions->pack(line, width, context->result + 3 * place);
        return;
    }
    for (int32_t channel = 0; channel < layout->channels; channel++) {
        uint8_t *result = context->result + (size_t)channel * across * (size_t)height + place;
        for (size_t at = 0; at < across; at++) result[at] = line[4 * at + (size_t)channel];
    }
}

static void write_floats(const headrace_image_context *context, int32_t row, const uint8_t *line, int32_t width,
                         int32_t height) {
    const headrace_image_layout *layout = &context->layout;
    size_t across = (size_t)width, place = (size_t)row * across;
    float *result = (float *)context->result;
    if (layout->planar || layout->channels == 1) {
        for (int32_t channel = 0; channel < layout->channels; channel++) {
            context->functions->plane(line, width, channel, layout->scale[channel], layout->bias[channel],
                                      result + (size_t)channel * across * (size_t)height + place);
        }
        return;
    }
    result += 3 * place;
    for (size_t at = 0; at < across; at++) {
        for (size_t channel = 0; channel < 3; channel++) {
            result[3 * at + channel] = (float)line[4 * at + channel] * layout->scale[channel] + layout->bias[channel];
        }
    }
}

static void write_shorts(const headrace_image_context *context, int32_t row, const uint8_t *line, int32_t width,
                         int32_t height) {
    const headrace_image_layout *layout = &context->layout;
    size_t across = (size_t)width, place = (size_t)row * across, channels = (size_t)layout->channels;
    size_t step = layout->planar ? 1 : channels;
    for (size_t channel = 0; channel < channels; channel++) {
        const uint16_t *table = context->shorts[channel];
        uint16_t *result = (uint16_t *)context->result;
        result += layout->planar ? channel * across * (size_t)height + place : channels * place + channel;
        for (size_t at = 0; at < across; at++) result[at * step] = table[line[4 * at + channel]];
    }
}

void headrace_pixels_write(const headrace_image_context *context, int32_t row, uint8_t *line) {
    int32_t width = context->view.window_width, height = context->view.window_height;
    if (context->layout.channels == 1) make_grey(line, width);
    switch (context->layout.element) {
        case HEADRACE_IMAGE_U8: write_bytes(context, row, line, width, height); break;
        case HEADRACE_IMAGE_F32: write_floats(context, row, line, width, height); break;
        default: write_shorts(context, row, line, width, height); break;
    }
}
