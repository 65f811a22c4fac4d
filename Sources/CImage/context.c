#include "context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const headrace_image_functions *best_functions(bool portable) {
#if defined(__x86_64__)
    if (!portable && __builtin_cpu_supports("avx2")) return &headrace_image_avx2;
#endif
    (void)portable;
    return &headrace_image_portable;
}

headrace_image_context *headrace_image_create(bool portable) {
    headrace_image_context *context = calloc(1, sizeof *context);
    if (context) context->functions = best_functions(portable);
    return context;
}

void headrace_image_destroy(headrace_image_context *context) {
    if (!context) return;
    headrace_jpeg_destroy(context->jpeg);
    headrace_png_destroy(context->png);
    headrace_image_axis_free(&context->columns);
    headrace_image_axis_free(&context->rows);
    free(context->source_room.bytes);
    free(context->ring_room.bytes);
    free(context->line_room.bytes);
    free(context->stage_room.bytes);
    free(context->picture_room.bytes);
    free(context->pointer_room.bytes);
    free(context->interval_room.bytes);
    free(context->coefficient_room.bytes);
    free(context->rewritten_room.bytes);
    free(context);
}

uint8_t *headrace_image_reserve(headrace_image_room *room, size_t count) {
    if (count <= room->capacity) return room->bytes;
    // A little more, so that images of about one size settle soon.
    size_t capacity = (count + count / 4 + 4095) & ~(size_t)4095;
    uint8_t *bytes = aligned_alloc(64, capacity);
    if (!bytes) return NULL;
    // Slack is read, with weight zero: it must be something.
    memset(bytes, 0, capacity);
    free(room->bytes);
    room->bytes = bytes;
    room->capacity = capacity;
    return bytes;
}

void headrace_image_release(headrace_image_room *room) {
    free(room->bytes);
    room->bytes = NULL;
    room->capacity = 0;
}

static void note(headrace_image_context *context, int status, const char *format, va_list arguments) {
    context->status = status;
    vsnprintf(context->message, sizeof context->message, format, arguments);
}

int headrace_image_fail(headrace_image_context *context, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note(context, status, format, arguments);
    va_end(arguments);
    return status;
}

void headrace_image_escape(headrace_image_context *context, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note(context, status, format, arguments);
    va_end(arguments);
    longjmp(context->escape, 1);
}

const char *headrace_image_message(const headrace_image_context *context) { return context->message; }

const char *headrace_image_colours(const headrace_image_context *context) { return context->colours; }

const char *headrace_image_remark(const headrace_image_context *context) { return context->remark; }

int headrace_image_check_size(headrace_image_context *context) {
    const headrace_image_info *info = &context->info;
    if (info->width <= 0 || info->height <= 0) {
        return headrace_image_fail(context, HEADRACE_IMAGE_CORRUPT, "an image of %d x %d pixels", info->width,
                                   info->height);
    }
    int32_t side = context->limits.side;
    if (info->width > side || info->height > side) {
        return headrace_image_fail(context, HEADRACE_IMAGE_LIMIT,
                                   "an image of %d x %d pixels is longer than the limit imageSide of %d", info->width,
                                   info->height, side);
    }
    int64_t pixels = (int64_t)info->width * info->height;
    if (pixels > context->limits.pixels) {
        return headrace_image_fail(context, HEADRACE_IMAGE_LIMIT,
                                   "an image of %d x %d pixels is larger than the limit imagePixels of %lld",
                                   info->width, info->height, (long long)context->limits.pixels);
    }
    return HEADRACE_IMAGE_OK;
}

static const uint8_t jpeg_start[] = {0xff, 0xd8, 0xff};
static const uint8_t png_start[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static bool begins(const headrace_image_context *context, const uint8_t *start, size_t count) {
    return context->count >= count && memcmp(context->bytes, start, count) == 0;
}

static void begin(headrace_image_context *context, const uint8_t *bytes, size_t count,
                  const headrace_image_limits *limits) {
    context->bytes = bytes;
    context->count = count;
    context->limits = *limits;
    context->message[0] = context->remark[0] = 0;
    context->status = HEADRACE_IMAGE_OK;
    context->colours = "";
    memset(&context->info, 0, sizeof context->info);
    context->info.orientation = 1;
}

int headrace_image_open(headrace_image_context *context, const uint8_t *bytes, size_t count,
                        const headrace_image_limits *limits, headrace_image_info *info) {
    begin(context, bytes, count, limits);
    int status;
    if (begins(context, jpeg_start, sizeof jpeg_start)) {
        status = headrace_jpeg_open(context);
    } else if (begins(context, png_start, sizeof png_start)) {
        status = headrace_png_open(context);
    } else if (count == 0) {
        status = headrace_image_fail(context, HEADRACE_IMAGE_TRUNCATED, "an empty file instead of an image");
    } else {
        status = headrace_image_fail(context, HEADRACE_IMAGE_FOREIGN,
                                     "neither a JPEG nor a PNG: it begins with %02x %02x %02x %02x", bytes[0],
                                     count > 1 ? bytes[1] : 0, count > 2 ? bytes[2] : 0, count > 3 ? bytes[3] : 0);
    }
    if (status != HEADRACE_IMAGE_OK) context->info.format = 0;
    *info = context->info;
    return status;
}

int headrace_image_make_croppable(headrace_image_context *context, const uint8_t *bytes, size_t count,
                                  const headrace_image_limits *limits, const uint8_t **result, size_t *result_count) {
    begin(context, bytes, count, limits);
    *result = NULL;
    *result_count = 0;
    int status = begins(context, jpeg_start, sizeof jpeg_start)
                     ? headrace_jpeg_make_croppable(context, result, result_count)
                     : headrace_image_fail(context, HEADRACE_IMAGE_FOREIGN, "no JPEG");
    // What headrace_image_open noted for headrace_image_read is overwritten.
    context->info.format = 0;
    return status;
}

int headrace_image_read(headrace_image_context *context, const headrace_image_view *view,
                        const headrace_image_jitter *jitter, const headrace_image_layout *layout, void *pixels) {
    context->view = *view;
    context->jitter = *jitter;
    context->layout = *layout;
    context->result = pixels;
    int32_t format = context->info.format;
    // A header serves one picture.
    context->info.format = 0;
    switch (format) {
        case HEADRACE_IMAGE_JPEG: return headrace_jpeg_read(context);
        case HEADRACE_IMAGE_PNG: return headrace_png_read(context);
        default: return headrace_image_fail(context, HEADRACE_IMAGE_CORRUPT, "no image is open");
    }
}

int headrace_image_resize(headrace_image_context *context, const uint8_t *pixels, int32_t width, int32_t height,
                          const headrace_image_view *view, const headrace_image_layout *layout, void *result) {
    context->view = *view;
    memset(&context->jitter, 0, sizeof context->jitter);
    context->layout = *layout;
    context->result = result;
    int status = headrace_image_plan(context, width, height, 1);
    if (status != HEADRACE_IMAGE_OK) return status;
    size_t stride;
    uint8_t *pair = headrace_image_row_pair(context, width, &stride);
    if (!pair) return headrace_image_fail(context, HEADRACE_IMAGE_NO_MEMORY, "no memory for rows");
    for (int32_t row = context->rows.from; row < context->rows.to; row += 2) {
        bool has_second = row + 1 < context->rows.to;
        memcpy(pair, pixels + (size_t)row * 4 * (size_t)width, 4 * (size_t)width);
        if (has_second) memcpy(pair + stride, pixels + (size_t)(row + 1) * 4 * (size_t)width, 4 * (size_t)width);
        headrace_image_take(context, pair, has_second ? pair + stride : NULL, 0, width, HEADRACE_ROWS_RGBX);
    }
    headrace_image_finish(context);
    return HEADRACE_IMAGE_OK;
}
