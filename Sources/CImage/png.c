#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"

#ifdef HEADRACE_IMAGES

#include <png.h>

// libpng makes its state anew for every file. Its memory is cut from blocks that are kept, so that a warm context
// asks the system for none.

/// An interlaced picture larger than this is given back, so that one giant does not stay for ever.
enum { KEPT_PICTURE_BYTES = 64 << 20 };

enum { BLOCK_BYTES = 1 << 20, BLOCK_LIMIT = 64, CHUNK_BYTES_LIMIT = 8 << 20 };

struct headrace_png {
    png_structp png;
    png_infop info;
    uint8_t *blocks[BLOCK_LIMIT];
    size_t capacities[BLOCK_LIMIT];
    int block;
    size_t used;
    /// The file wanted more memory than files may have.
    bool ran_out;
    /// The part of the file that is still to be read.
    size_t at;
    /// Rows that were read.
    int32_t row;
};

// MARK: What libpng calls

static png_voidp allocate(png_structp png, png_alloc_size_t count) {
    headrace_image_context *context = png_get_mem_ptr(png);
    struct headrace_png *decoder = context->png;
    size_t size = (count + 63) & ~(size_t)63;
    if (size < count) return NULL;
    int first = decoder->block;
    size_t used = decoder->used;
    while (decoder->block < BLOCK_LIMIT) {
        int block = decoder->block;
        if (!decoder->blocks[block]) {
            size_t capacity = size > BLOCK_BYTES ? size : BLOCK_BYTES;
            decoder->blocks[block] = aligned_alloc(64, capacity);
            if (!decoder->blocks[block]) return NULL;
            decoder->capacities[block] = capacity;
        }
        if (decoder->capacities[block] - decoder->used >= size) {
            uint8_t *memory = decoder->blocks[block] + decoder->used;
            decoder->used += size;
            return memory;
        }
        decoder->block++;
        decoder->used = 0;
    }
    // What comes next may be smaller.
    decoder->block = first;
    decoder->used = used;
    decoder->ran_out = true;
    return NULL;
}

/// All memory of a file is given back at once, when the next one is opened.
static void release(png_structp png, png_voidp memory) {
    (void)png;
    (void)memory;
}

static void note_damage(headrace_image_context *context, const char *words) {
    if (!context->remark[0]) snprintf(context->remark, sizeof context->remark, "%s", words);
}

static void error_exit(png_structp png, png_const_charp words) {
    headrace_image_context *context = png_get_error_ptr(png);
    note_damage(context, words);
    bool is_memory = strstr(words, "memory") != NULL && !context->png->ran_out;
    headrace_image_escape(context, is_memory ? HEADRACE_IMAGE_NO_MEMORY : HEADRACE_IMAGE_CORRUPT,
                          "the PNG is damaged: %s, near byte %zu", words, context->png->at);
}

static void warn(png_structp png, png_const_charp words) {
    note_damage(png_get_error_ptr(png), words);
}

static void read_bytes(png_structp png, png_bytep target, size_t count) {
    headrace_image_context *context = png_get_io_ptr(png);
    struct headrace_png *decoder = context->png;
    if (count > context->count - decoder->at) {
        note_damage(context, "the file ends too early");
        headrace_image_escape(context, HEADRACE_IMAGE_TRUNCATED, "the PNG ends after %zu bytes, inside its data",
                              context->count);
    }
    memcpy(target, context->bytes + decoder->at, count);
    decoder->at += count;
}

// MARK: Header

/// What is no part of the pixels is skipped, so that a defect in it harms nobody.
static void ignore_the_rest(png_structp png) {
    static const png_byte chunks[] = "bKGD\0cHRM\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0sCAL\0sPLT\0sRGB\0sTER\0"
                                     "tEXt\0tIME\0zTXt\0sBIT\0pHYs\0eXIf";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, chunks, (int)(sizeof chunks / 5));
}

static const char *colours_of(int type) {
    switch (type) {
        case PNG_COLOR_TYPE_GRAY: return "grey";
        case PNG_COLOR_TYPE_GRAY_ALPHA: return "grey with alpha";
        case PNG_COLOR_TYPE_PALETTE: return "palette";
        case PNG_COLOR_TYPE_RGB: return "RGB";
        default: return "RGB with alpha";
    }
}

/// The orientation in an eXIf chunk before the image data; where it stands is looked up without libpng, whose
/// version may not know the chunk.
static int32_t orientation_of(const headrace_image_context *context) {
    size_t at = 8;
    while (context->count - at >= 12) {
        const uint8_t *chunk = context->bytes + at;
        size_t length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > context->count - at - 12 || memcmp(chunk + 4, "IDAT", 4) == 0) return 1;
        if (memcmp(chunk + 4, "eXIf", 4) == 0) return headrace_exif_orientation(chunk + 8, length);
        at += 12 + length;
    }
    return 1;
}

int headrace_png_open(headrace_image_context *context) {
    if (!context->png) context->png = calloc(1, sizeof *context->png);
    struct headrace_png *decoder = context->png;
    if (!decoder) return headrace_image_fail(context, HEADRACE_IMAGE_NO_MEMORY, "no memory for libpng");
    if (setjmp(context->escape)) return context->status;
    // The file before has left its state here; its memory is used again from the start.
    if (decoder->png) png_destroy_read_struct(&decoder->png, &decoder->info, NULL);
    decoder->block = 0;
    decoder->used = decoder->at = 0;
    decoder->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, context, error_exit, warn, context, allocate,
                                            release);
    if (decoder->png) decoder->info = png_create_info_struct(decoder->png);
    if (!decoder->png || !decoder->info) {
        return headrace_image_fail(context, HEADRACE_IMAGE_NO_MEMORY, "no memory for libpng");
    }
    png_structp png = decoder->png;
    png_set_read_fn(png, context, read_bytes);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(png, CHUNK_BYTES_LIMIT);
    // A checksum that does not match is damage wherever it is.
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    ignore_the_rest(png);
    png_read_info(png, decoder->info);
    headrace_image_info *info = &context->info;
    int type = png_get_color_type(png, decoder->info);
    info->format = HEADRACE_IMAGE_PNG;
    info->width = (int32_t)png_get_image_width(png, decoder->info);
    info->height = (int32_t)png_get_image_height(png, decoder->info);
    info->components = png_get_channels(png, decoder->info);
    info->bits = png_get_bit_depth(png, decoder->info);
    info->is_progressive = png_get_interlace_type(png, decoder->info) != PNG_INTERLACE_NONE;
    info->has_alpha = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, decoder->info, PNG_INFO_tRNS);
    context->colours = colours_of(type);
    info->orientation = orientation_of(context);
    return headrace_image_check_size(context);
}

// MARK: Pixels

/// Asks for 8 bits of red, green, blue and alpha, whatever is stored. Of 16 bits the upper 8 are kept.
static void ask_for_bytes(png_structp png) {
    png_set_expand(png);
    png_set_strip_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 0xff, PNG_FILLER_AFTER);
}

/// An interlaced picture comes in passes over all rows, so all of it is kept.
static void read_interlaced(headrace_image_context *context, int passes) {
    size_t stride = ((size_t)context->info.width * 4 + HEADRACE_ROW_SLACK + 63) / 64 * 64;
    size_t count = stride * (size_t)context->info.height;
    uint8_t *picture = headrace_image_reserve(&context->picture_room, count);
    if (!picture) {
        headrace_image_escape(context, HEADRACE_IMAGE_NO_MEMORY, "no memory for a PNG of %d x %d pixels",
                              context->info.width, context->info.height);
    }
    memset(picture, 0, count);
    // What is missing of a file that ends too early stays black, where that is allowed.
    volatile bool has_ended = false;
    if (context->limits.allows_damage) {
        if (setjmp(context->escape)) has_ended = true;
    }
    if (has_ended && context->status == HEADRACE_IMAGE_NO_MEMORY) return;
    if (!has_ended) {
        for (int pass = 0; pass < passes; pass++) {
            for (int32_t row = 0; row < context->info.height; row++) {
                png_read_row(context->png->png, picture + (size_t)row * stride, NULL);
            }
        }
        png_read_end(context->png->png, NULL);
    }
    for (int32_t row = context->rows.from; row < context->rows.to; row += 2) {
        uint8_t *first = picture + (size_t)row * stride;
        uint8_t *second = row + 1 < context->rows.to ? first + stride : NULL;
        headrace_image_take(context, first, second, 0, context->info.width, HEADRACE_ROWS_RGBA);
    }
}

static void read_straight(headrace_image_context *context) {
    size_t stride;
    uint8_t *pair = headrace_image_row_pair(context, context->info.width, &stride);
    if (!pair) headrace_image_escape(context, HEADRACE_IMAGE_NO_MEMORY, "no memory for rows of a PNG");
    // In memory, because a jump out of libpng may come between the changes.
    volatile bool has_ended = false;
    if (context->limits.allows_damage) {
        if (setjmp(context->escape)) has_ended = true;
    }
    if (has_ended && context->status == HEADRACE_IMAGE_NO_MEMORY) return;
    int32_t row = context->png->row;
    while (row < context->info.height) {
        bool is_needed = row >= context->rows.from && row < context->rows.to;
        int32_t count = is_needed && row + 1 < context->rows.to ? 2 : 1;
        if (has_ended) memset(pair, 0, 2 * stride);
        for (int32_t at = 0; at < count && !has_ended; at++) {
            png_read_row(context->png->png, pair + (size_t)at * stride, NULL);
        }
        if (is_needed) {
            headrace_image_take(context, pair, count == 2 ? pair + stride : NULL, 0, context->info.width,
                                HEADRACE_ROWS_RGBA);
        }
        row += count;
        context->png->row = row;
    }
    if (!has_ended) png_read_end(context->png->png, NULL);
}

/// A picture that was kept whole is not kept for the next one where it is large.
static void shrink(headrace_image_context *context) {
    if (context->picture_room.capacity > KEPT_PICTURE_BYTES) headrace_image_release(&context->picture_room);
}

int headrace_png_read(headrace_image_context *context) {
    int status = headrace_image_plan(context, context->info.width, context->info.height, 1);
    if (status != HEADRACE_IMAGE_OK) return status;
    if (setjmp(context->escape)) {
        shrink(context);
        return context->status;
    }
    struct headrace_png *decoder = context->png;
    context->status = HEADRACE_IMAGE_OK;
    decoder->row = 0;
    ask_for_bytes(decoder->png);
    int passes = png_set_interlace_handling(decoder->png);
    png_read_update_info(decoder->png, decoder->info);
    if (png_get_rowbytes(decoder->png, decoder->info) != 4 * (size_t)context->info.width) {
        return headrace_image_fail(context, HEADRACE_IMAGE_UNSUPPORTED, "a PNG whose rows do not become 4 bytes a pixel");
    }
    if (passes == 1) {
        read_straight(context);
    } else {
        read_interlaced(context, passes);
        shrink(context);
    }
    if (context->status == HEADRACE_IMAGE_NO_MEMORY) return context->status;
    headrace_image_finish(context);
    return HEADRACE_IMAGE_OK;
}

void headrace_png_destroy(struct headrace_png *png) {
    if (!png) return;
    if (png->png) png_destroy_read_struct(&png->png, &png->info, NULL);
    for (int block = 0; block < BLOCK_LIMIT; block++) free(png->blocks[block]);
    free(png);
}

#else

int headrace_png_open(headrace_image_context *context) { return headrace_jpeg_open(context); }

int headrace_png_read(headrace_image_context *context) { return headrace_jpeg_open(context); }

void headrace_png_destroy(struct headrace_png *png) { (void)png; }

#endif
