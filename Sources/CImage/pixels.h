#ifndef HEADRACE_IMAGE_PIXELS_H
#define HEADRACE_IMAGE_PIXELS_H

#include "context.h"

/// Makes 4 bytes of red, green, blue out of inverted (Adobe) CMYK.
void headrace_pixels_from_cmyk(uint8_t *pixels, int32_t count);

/// Lays pixels over a background, or leaves their colours as they are.
void headrace_pixels_blend(uint8_t *pixels, int32_t count, int32_t alpha);

/// Changes brightness, contrast and saturation of a picture of 4 bytes a pixel.
void headrace_pixels_jitter(uint8_t *pixels, size_t stride, int32_t width, int32_t height,
                            const headrace_image_jitter *jitter);

/// Computes the tables of 2-byte elements for the context's layout, unless they are there.
void headrace_pixels_prepare(headrace_image_context *context);

/// Writes row `row` of the upright result from pixels of 4 bytes, which it may change.
void headrace_pixels_write(const headrace_image_context *context, int32_t row, uint8_t *line);

#endif
