#include "resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Weights must come out alike on every machine.
#pragma STDC FP_CONTRACT OFF

/// A triangle from -1 to 1.
static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static bool grow(void *pointer, size_t *capacity, size_t count, size_t size) {
    if (count <= *capacity) return true;
    void **place = pointer;
    void *larger = realloc(*place, count * size);
    if (!larger) return false;
    *place = larger;
    *capacity = count;
    return true;
}

static bool reserve(headrace_image_axis *axis, size_t pixels, size_t weights, size_t taps) {
    // The pairs of tables grow together: the capacity is noted with the second.
    size_t before = axis->pixel_capacity;
    if (!grow(&axis->start, &before, pixels, sizeof *axis->start)) return false;
    if (!grow(&axis->taps, &axis->pixel_capacity, pixels, sizeof *axis->taps)) return false;
    before = axis->weight_capacity;
    if (!grow(&axis->high, &before, weights, sizeof *axis->high)) return false;
    if (!grow(&axis->low, &axis->weight_capacity, weights, sizeof *axis->low)) return false;
    return grow(&axis->scratch, &axis->scratch_capacity, taps, sizeof *axis->scratch);
}

/// The weights of the pixel whose centre is `center`, in the order and with the roundings of Pillow.
static void weigh(headrace_image_axis *axis, int32_t place, double center, double support, double filter_scale,
                  int32_t lowest, int32_t highest) {
    int32_t from = (int32_t)(center - support + 0.5);
    if (from < lowest) from = lowest;
    int32_t to = (int32_t)(center + support + 0.5);
    if (to > highest) to = highest;
    // A box that ends between pixels can leave a pixel without neighbours by a rounding.
    if (from >= to) from = to > lowest ? to - 1 : lowest;
    if (to <= from) to = from + 1;
    double sum = 0, inverse = 1.0 / filter_scale;
    int32_t taps = to - from;
    for (int32_t tap = 0; tap < taps; tap++) {
        axis->scratch[tap] = triangle((tap + from - center + 0.5) * inverse);
        sum += axis->scratch[tap];
    }
    if (sum == 0) {
        axis->scratch[0] = sum = 1;
    }
    int16_t *high = axis->high + (size_t)place * axis->stride, *low = axis->low + (size_t)place * axis->stride;
    memset(high, 0, (size_t)axis->stride * sizeof *high);
    memset(low, 0, (size_t)axis->stride * sizeof *low);
    for (int32_t tap = 0; tap < taps; tap++) {
        int32_t weight = (int32_t)(0.5 + axis->scratch[tap] / sum * (1 << HEADRACE_WEIGHT_BITS));
        high[tap] = (int16_t)(weight >> HEADRACE_WEIGHT_LOW_BITS);
        low[tap] = (int16_t)(weight & ((1 << HEADRACE_WEIGHT_LOW_BITS) - 1));
    }
    axis->start[place] = from;
    axis->taps[place] = taps;
}

bool headrace_image_axis_make(headrace_image_axis *axis, const headrace_image_axis_plan *plan) {
    double scale = (plan->end - plan->begin) / plan->resized;
    double filter_scale = scale < 1.0 || !plan->antialias ? 1.0 : scale;
    double support = filter_scale;
    size_t taps = (size_t)ceil(support) * 2 + 1;
    axis->stride = (int32_t)((taps + 3) / 4 * 4);
    axis->size = plan->count;
    if (!reserve(axis, (size_t)plan->count, (size_t)plan->count * (size_t)axis->stride, taps + 1)) return false;

    // The box is cut out first and knows of nothing around it. Computed from the box's first whole pixel on, so
    // that a crop has the very weights that it would have as a picture of its own.
    int32_t origin = (int32_t)floor(plan->begin);
    double begin = plan->begin - origin;
    int32_t highest = (int32_t)ceil(plan->end) - origin;
    axis->from = INT32_MAX;
    axis->to = 0;
    axis->most_taps = 0;
    for (int32_t index = 0; index < plan->count; index++) {
        int32_t place = plan->is_reversed ? plan->count - 1 - index : index;
        double center = begin + (plan->first + index + 0.5) * scale;
        weigh(axis, place, center, support, filter_scale, 0, highest);
        axis->start[place] += origin;
        if (axis->taps[place] > axis->most_taps) axis->most_taps = axis->taps[place];
        if (axis->start[place] < axis->from) axis->from = axis->start[place];
        if (axis->start[place] + axis->taps[place] > axis->to) axis->to = axis->start[place] + axis->taps[place];
    }
    return true;
}

void headrace_image_axis_free(headrace_image_axis *axis) {
    free(axis->start);
    free(axis->taps);
    free(axis->high);
    free(axis->low);
    free(axis->scratch);
}

// MARK: Without vectors

static uint8_t rounded(int32_t high, int32_t low) {
    int32_t sum = (high << HEADRACE_WEIGHT_LOW_BITS) + low + (1 << (HEADRACE_WEIGHT_BITS - 1));
    int32_t pixel = sum >> HEADRACE_WEIGHT_BITS;
    return pixel > 255 ? 255 : (uint8_t)pixel;
}

static void horizontal(const headrace_image_axis *axis, const uint8_t *const rows[2], int32_t first_column,
                       uint8_t *const results[2]) {
    for (int row = 0; row < 2; row++) {
        for (int32_t place = 0; place < axis->size; place++) {
            const uint8_t *source = rows[row] + 4 * (size_t)(axis->start[place] - first_column);
            const int16_t *high = axis->high + (size_t)place * axis->stride;
            const int16_t *low = axis->low + (size_t)place * axis->stride;
            int32_t highs[4] = {0}, lows[4] = {0};
            for (int32_t tap = 0; tap < axis->taps[place]; tap++) {
                for (int channel = 0; channel < 4; channel++) {
                    highs[channel] += source[4 * tap + channel] * high[tap];
                    lows[channel] += source[4 * tap + channel] * low[tap];
                }
            }
            for (int channel = 0; channel < 4; channel++) {
                results[row][4 * place + channel] = rounded(highs[channel], lows[channel]);
            }
        }
    }
}

static void vertical(const uint8_t *const *rows, int32_t taps, const int16_t *high, const int16_t *low, size_t count,
                     uint8_t *result) {
    for (size_t at = 0; at < count; at++) {
        int32_t highs = 0, lows = 0;
        for (int32_t tap = 0; tap < taps; tap++) {
            highs += rows[tap][at] * high[tap];
            lows += rows[tap][at] * low[tap];
        }
        result[at] = rounded(highs, lows);
    }
}

static void pack(const uint8_t *pixels, int32_t count, uint8_t *result) {
    for (int32_t at = 0; at < count; at++) {
        result[3 * at] = pixels[4 * at];
        result[3 * at + 1] = pixels[4 * at + 1];
        result[3 * at + 2] = pixels[4 * at + 2];
    }
}

static void plane(const uint8_t *pixels, int32_t count, int32_t channel, float scale, float bias, float *result) {
    for (int32_t at = 0; at < count; at++) result[at] = (float)pixels[4 * at + channel] * scale + bias;
}

static const uint8_t *marker(const uint8_t *from, const uint8_t *to) {
    while (to - from >= 2) {
        from = memchr(from, 0xff, (size_t)(to - from) - 1);
        if (!from) return to;
        if (from[1] != 0) return from;
        from += 2;
    }
    return to;
}

const headrace_image_functions headrace_image_portable = {horizontal, vertical, pack, plane, marker};
