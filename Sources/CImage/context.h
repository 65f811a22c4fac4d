#ifndef HEADRACE_IMAGE_CONTEXT_H
#define HEADRACE_IMAGE_CONTEXT_H

#include <setjmp.h>

#include "image.h"
#include "resize.h"

/// Memory that only grows.
typedef struct {
    uint8_t *bytes;
    size_t capacity;
} headrace_image_room;

/// At least `count` bytes, aligned for vectors; NULL without memory. What was in it is lost.
uint8_t *headrace_image_reserve(headrace_image_room *room, size_t count);

/// Gives the memory back.
void headrace_image_release(headrace_image_room *room);

/// Colours of decoded rows before they become 4 bytes a pixel.
enum { HEADRACE_ROWS_RGBX = 0, HEADRACE_ROWS_CMYK, HEADRACE_ROWS_RGBA };

struct headrace_image_context {
    const uint8_t *bytes;
    size_t count;
    headrace_image_limits limits;
    headrace_image_info info;
    const headrace_image_functions *functions;

    /// Where an error of a library goes; `status` and `message` are set before the jump.
    jmp_buf escape;
    int status;
    const char *colours;
    char message[320];
    char remark[200];

    struct headrace_jpeg *jpeg;
    struct headrace_png *png;

    // The picture in the making.
    headrace_image_view view;
    headrace_image_jitter jitter;
    headrace_image_layout layout;
    uint8_t *result;
    /// Values of 2-byte elements by channel and byte, for this layout.
    uint16_t shorts[3][256];
    headrace_image_layout shorts_layout;
    headrace_image_axis columns, rows;
    /// Whether the picture is staged before it is written: transposed, or its colours change.
    bool is_staged;
    /// Rows resized in width, the youngest `ring_size` of them.
    int32_t ring_size;
    size_t ring_stride;
    /// The next row to be resized in width, and the next row of the result, in the stored picture's order.
    int32_t next_row, next_result;

    headrace_image_room source_room, ring_room, line_room, stage_room, picture_room, pointer_room;
    /// Where restart intervals begin, coefficients of two of them, and a file that was rewritten.
    headrace_image_room interval_room, coefficient_room, rewritten_room;
};

/// Notes an error and returns its status.
int headrace_image_fail(headrace_image_context *context, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/// Notes an error inside a library's call and leaves the call.
_Noreturn void headrace_image_escape(headrace_image_context *context, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/// Checks the size of the file in `context->info` against the limits.
int headrace_image_check_size(headrace_image_context *context);

int headrace_jpeg_open(headrace_image_context *context);
int headrace_jpeg_read(headrace_image_context *context);
void headrace_jpeg_destroy(struct headrace_jpeg *jpeg);
int headrace_jpeg_make_croppable(headrace_image_context *context, const uint8_t **result, size_t *result_count);

int headrace_png_open(headrace_image_context *context);
int headrace_png_read(headrace_image_context *context);
void headrace_png_destroy(struct headrace_png *png);

/// Plans the way from a stored picture, of which only each `scale`th pixel of a row and column is decoded, to the
/// result; then `columns.from..<to` and `rows.from..<to` say which pixels are needed.
int headrace_image_plan(headrace_image_context *context, int32_t stored_width, int32_t stored_height, int32_t scale);

/// Room for a pair of rows that hold the columns from `first_column` on, `width` of them; NULL without memory.
uint8_t *headrace_image_row_pair(headrace_image_context *context, int32_t width, size_t *stride);

/// Takes the next one or two needed rows of the stored picture. `first_column` is the column at their start.
void headrace_image_take(headrace_image_context *context, uint8_t *first, uint8_t *second, int32_t first_column,
                         int32_t width, int colours);

/// Writes what was staged.
void headrace_image_finish(headrace_image_context *context);

/// The orientation that EXIF data (behind its "Exif\0\0", if it has that) asks for; 1 where it says nothing.
int32_t headrace_exif_orientation(const uint8_t *bytes, size_t count);
/// The same for a whole JPEG file.
int32_t headrace_jpeg_orientation(const uint8_t *bytes, size_t count);

#endif
