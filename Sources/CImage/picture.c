#include <string.h>

#include "context.h"
#include "pixels.h"

// From rows of the stored picture to the result. Rows come in from top to bottom; each is resized in width at once
// and kept in a ring only as long as rows of the result need it.

/// Which ways a picture of an EXIF orientation has to be turned: each is undone where the result is written.
typedef struct {
    bool transposed, mirrored_columns, mirrored_rows;
} turn;

static turn turn_of(int32_t orientation) {
    turn it = {
        .transposed = orientation >= 5,
        .mirrored_columns = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8,
        .mirrored_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7,
    };
    return it;
}

/// One direction of the view, as the upright picture has it.
typedef struct {
    int32_t box, box_size, resized, window, window_size;
    bool flip;
} direction;

static headrace_image_axis_plan plan_of(direction it, bool mirrored, int32_t stored_size, int32_t scale,
                                        bool antialias) {
    int32_t box = mirrored ? stored_size - it.box - it.box_size : it.box;
    int32_t window = mirrored ? it.resized - it.window - it.window_size : it.window;
    headrace_image_axis_plan plan = {
        .begin = (double)box / scale,
        .end = (double)(box + it.box_size) / scale,
        .resized = it.resized,
        .first = window,
        .count = it.window_size,
        .is_reversed = mirrored != it.flip,
        .antialias = antialias,
    };
    return plan;
}

static bool fits(direction it, int32_t size) {
    return it.box >= 0 && it.box_size > 0 && it.box_size <= size - it.box && it.window >= 0 && it.window_size > 0 &&
           it.window_size <= it.resized - it.window;
}

static bool has_jitter(const headrace_image_jitter *jitter) {
    return jitter->operation[0] || jitter->operation[1] || jitter->operation[2];
}

int headrace_image_plan(headrace_image_context *context, int32_t stored_width, int32_t stored_height, int32_t scale) {
    const headrace_image_view *view = &context->view;
    turn way = turn_of(view->orientation);
    direction across = {view->box_x, view->box_width, view->resized_width, view->window_x, view->window_width,
                        view->flip};
    direction down = {view->box_y, view->box_height, view->resized_height, view->window_y, view->window_height,
                      false};
    direction columns = way.transposed ? down : across, rows = way.transposed ? across : down;
    if (!fits(columns, stored_width) || !fits(rows, stored_height)) {
        return headrace_image_fail(context, HEADRACE_IMAGE_UNSUPPORTED, "a crop outside the image");
    }
    headrace_image_axis_plan plan =
        plan_of(columns, way.mirrored_columns, stored_width, scale, view->antialias);
    bool has_memory = headrace_image_axis_make(&context->columns, &plan);
    plan = plan_of(rows, way.mirrored_rows, stored_height, scale, view->antialias);
    // Rows of the result are made from top to bottom; their place is found when they are written.
    plan.is_reversed = false;
    has_memory = has_memory && headrace_image_axis_make(&context->rows, &plan);

    size_t line = ((size_t)context->columns.size * 4 + 31) / 32 * 32;
    size_t turned = (size_t)context->rows.size * 4;
    context->ring_stride = line;
    context->ring_size = context->rows.stride + 4;
    context->is_staged = way.transposed || has_jitter(&context->jitter);
    size_t stage = context->is_staged ? line * (size_t)context->rows.size : 0;
    has_memory = has_memory && headrace_image_reserve(&context->ring_room, line * (size_t)context->ring_size) &&
                 headrace_image_reserve(&context->line_room, (line > turned ? line : turned) + HEADRACE_ROW_SLACK) &&
                 headrace_image_reserve(&context->stage_room, stage + HEADRACE_ROW_SLACK) &&
                 headrace_image_reserve(&context->pointer_room, sizeof(void *) * (size_t)context->rows.stride);
    if (!has_memory) {
        return headrace_image_fail(context, HEADRACE_IMAGE_NO_MEMORY, "no memory to resize an image to %d x %d",
                                   view->resized_width, view->resized_height);
    }
    headrace_pixels_prepare(context);
    context->next_row = context->rows.from;
    context->next_result = 0;
    return HEADRACE_IMAGE_OK;
}

uint8_t *headrace_image_row_pair(headrace_image_context *context, int32_t width, size_t *stride) {
    *stride = ((size_t)width * 4 + HEADRACE_ROW_SLACK + 63) / 64 * 64;
    return headrace_image_reserve(&context->source_room, *stride * 2);
}

static uint8_t *ring_row(const headrace_image_context *context, int32_t row) {
    return context->ring_room.bytes + (size_t)(row % context->ring_size) * context->ring_stride;
}

/// Writes row `place` of the stored picture's result, or stages it.
static void deliver(headrace_image_context *context, int32_t place, uint8_t *line) {
    if (context->is_staged) {
        memcpy(context->stage_room.bytes + (size_t)place * context->ring_stride, line, context->ring_stride);
        return;
    }
    bool mirrored = turn_of(context->view.orientation).mirrored_rows;
    headrace_pixels_write(context, mirrored ? context->rows.size - 1 - place : place, line);
}

/// Makes all rows of the result whose sources are there.
static void make_rows(headrace_image_context *context) {
    const headrace_image_axis *rows = &context->rows;
    const uint8_t **sources = (const uint8_t **)context->pointer_room.bytes;
    while (context->next_result < rows->size) {
        int32_t place = context->next_result;
        int32_t start = rows->start[place], taps = rows->taps[place];
        if (start + taps > context->next_row) return;
        for (int32_t tap = 0; tap < rows->stride; tap++) {
            // Behind the taps come weights of zero, for which any row will do.
            sources[tap] = ring_row(context, start + (tap < taps ? tap : 0));
        }
        const int16_t *high = rows->high + (size_t)place * rows->stride;
        const int16_t *low = rows->low + (size_t)place * rows->stride;
        context->functions->vertical(sources, (taps + 1) / 2 * 2, high, low, context->ring_stride,
                                     context->line_room.bytes);
        deliver(context, place, context->line_room.bytes);
        context->next_result++;
    }
}

void headrace_image_take(headrace_image_context *context, uint8_t *first, uint8_t *second, int32_t first_column,
                         int32_t width, int colours) {
    uint8_t *pair[2] = {first, second ? second : first};
    for (int row = 0; row < (second ? 2 : 1); row++) {
        if (colours == HEADRACE_ROWS_CMYK) headrace_pixels_from_cmyk(pair[row], width);
        if (colours == HEADRACE_ROWS_RGBA) headrace_pixels_blend(pair[row], width, context->view.alpha);
    }
    // Without a second row the first is resized twice, into the place that comes next: harmless, and rare.
    const uint8_t *sources[2] = {pair[0], pair[1]};
    uint8_t *results[2] = {ring_row(context, context->next_row), ring_row(context, context->next_row + 1)};
    context->functions->horizontal(&context->columns, sources, first_column, results);
    context->next_row += second ? 2 : 1;
    make_rows(context);
}

void headrace_image_finish(headrace_image_context *context) {
    if (!context->is_staged) return;
    turn way = turn_of(context->view.orientation);
    uint8_t *stage = context->stage_room.bytes;
    size_t stride = context->ring_stride;
    int32_t width = context->columns.size, height = context->rows.size;
    headrace_pixels_jitter(stage, stride, width, height, &context->jitter);
    for (int32_t place = 0; place < height && !way.transposed; place++) {
        int32_t target = way.mirrored_rows ? height - 1 - place : place;
        headrace_pixels_write(context, target, stage + (size_t)place * stride);
    }
    if (!way.transposed) return;
    // The stored picture's columns are the upright one's rows. Its rows are upright columns, which the flip mirrors.
    bool backwards = way.mirrored_rows != context->view.flip;
    uint8_t *line = context->line_room.bytes;
    for (int32_t column = 0; column < width; column++) {
        for (int32_t row = 0; row < height; row++) {
            int32_t source = backwards ? height - 1 - row : row;
            memcpy(line + 4 * (size_t)row, stage + (size_t)source * stride + 4 * (size_t)column, 4);
        }
        headrace_pixels_write(context, column, line);
    }
}
