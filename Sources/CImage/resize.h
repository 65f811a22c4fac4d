#ifndef HEADRACE_IMAGE_RESIZE_H
#define HEADRACE_IMAGE_RESIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Resizing with a triangle filter as wide as the reduction (Pillow's BILINEAR), in integers: 22 bits a weight, each
// pass rounded to 8 bits. A weight is kept as two halves of 11 bits, so that 16-bit multiplications add up to
// exactly what 32-bit ones would: every path gives the same pixels.

enum { HEADRACE_WEIGHT_BITS = 22, HEADRACE_WEIGHT_LOW_BITS = 11 };

/// Bytes that a source row must have behind its last pixel: weights come in fours, and the last may be zero.
enum { HEADRACE_ROW_SLACK = 64 };

/// How one direction is resized: result pixel `i` is the weighted sum of `taps[i]` source pixels from `start[i]` on.
typedef struct {
    int32_t size;
    /// Source pixels that anything depends on.
    int32_t from, to;
    /// The most taps of a pixel.
    int32_t most_taps;
    /// Weights of one pixel, a multiple of 4: those beyond `taps` are zero.
    int32_t stride;
    int32_t *start, *taps;
    int16_t *high, *low;
    double *scratch;
    size_t pixel_capacity, weight_capacity, scratch_capacity;
} headrace_image_axis;

/// What is to be computed of one direction.
typedef struct {
    /// The source's size; the box from `begin` to `end` in it becomes `resized` pixels.
    double begin, end;
    int32_t resized;
    /// Of them these are wanted, in reverse order where `is_reversed`.
    int32_t first, count;
    bool is_reversed, antialias;
} headrace_image_axis_plan;

/// Computes starts and weights; false without memory.
bool headrace_image_axis_make(headrace_image_axis *axis, const headrace_image_axis_plan *plan);
void headrace_image_axis_free(headrace_image_axis *axis);

typedef struct {
    /// Two rows of 4 bytes a pixel, which begin with source pixel `first_column`, resized in width.
    void (*horizontal)(const headrace_image_axis *axis, const uint8_t *const rows[2], int32_t first_column,
                       uint8_t *const results[2]);
    /// The weighted sum of `taps` rows (an even number: a row of weight zero may be any) of `count` bytes, a
    /// multiple of 32.
    void (*vertical)(const uint8_t *const *rows, int32_t taps, const int16_t *high, const int16_t *low,
                     size_t count, uint8_t *result);
    /// Three of every four bytes.
    void (*pack)(const uint8_t *pixels, int32_t count, uint8_t *result);
    /// One channel of every pixel as f32.
    void (*plane)(const uint8_t *pixels, int32_t count, int32_t channel, float scale, float bias, float *result);
    /// The first 0xff from `from` on that has no 0x00 behind it: a marker, or what is none; `to` where there is none.
    const uint8_t *(*marker)(const uint8_t *from, const uint8_t *to);
} headrace_image_functions;

extern const headrace_image_functions headrace_image_portable;
#if defined(__x86_64__)
extern const headrace_image_functions headrace_image_avx2;
#endif

#endif
