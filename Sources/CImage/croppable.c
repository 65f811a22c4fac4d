#include <stdlib.h>
#include <string.h>

#include "jpeg.h"

#ifdef HEADRACE_IMAGES

/// A JPEG on its way from its coefficients to a file with the same ones.
typedef struct {
    struct headrace_jpeg reader;
    struct jpeg_compress_struct writer;
    struct jpeg_destination_mgr destination;
    uint8_t *bytes;
    size_t count, capacity;
} rewriting;

enum { FIRST_CAPACITY = 64 << 10 };

// MARK: What libjpeg calls

static rewriting *of(j_compress_ptr jpeg) {
    // `reader` is the first member.
    return (rewriting *)jpeg->client_data;
}

static void grow(rewriting *it, size_t least) {
    size_t capacity = it->capacity ? it->capacity : FIRST_CAPACITY;
    while (capacity < least) capacity *= 2;
    uint8_t *bytes = realloc(it->bytes, capacity);
    if (!bytes) {
        headrace_image_escape(it->reader.context, HEADRACE_IMAGE_NO_MEMORY, "no memory for a JPEG of %zu bytes",
                              capacity);
    }
    it->bytes = bytes;
    it->capacity = capacity;
}

static void point(rewriting *it) {
    it->destination.next_output_byte = it->bytes + it->count;
    it->destination.free_in_buffer = it->capacity - it->count;
}

static void init_destination(j_compress_ptr jpeg) {
    rewriting *it = of(jpeg);
    grow(it, it->reader.count);
    point(it);
}

/// Called when all of the room is taken, whatever the library says is left of it.
static boolean empty_output_buffer(j_compress_ptr jpeg) {
    rewriting *it = of(jpeg);
    it->count = it->capacity;
    grow(it, it->capacity * 2);
    point(it);
    return TRUE;
}

static void term_destination(j_compress_ptr jpeg) {
    rewriting *it = of(jpeg);
    it->count = it->capacity - it->destination.free_in_buffer;
}

// MARK: Rewriting

/// MCUs between restart markers. Where a row of them is a multiple, each row begins with an interval, and a crop is cut
/// out as a picture of its own width; else rows begin with one every few rows only, and what lies between is decoded as
/// empty, which costs a twentieth of a real MCU.
static unsigned best_interval(int64_t across) {
    for (unsigned length = 2; length <= 5; length++) {
        if (across % length == 0) return length;
    }
    return 4;
}

static int64_t mcus_across(const struct jpeg_decompress_struct *jpeg) {
    int64_t width = DCTSIZE * (jpeg->num_components == 1 ? 1 : jpeg->max_h_samp_factor);
    return (jpeg->image_width + width - 1) / width;
}

/// Keeps all application data and comments, in their order and as they are.
static void keep_markers(struct jpeg_decompress_struct *jpeg) {
    jpeg_save_markers(jpeg, JPEG_COM, 0xffff);
    for (int number = 0; number < 16; number++) jpeg_save_markers(jpeg, JPEG_APP0 + number, 0xffff);
}

static void write(rewriting *it, jvirt_barray_ptr *coefficients) {
    struct jpeg_decompress_struct *from = &it->reader.decompress;
    struct jpeg_compress_struct *to = &it->writer;
    jpeg_copy_critical_parameters(from, to);
    // The file's own are copied.
    to->write_JFIF_header = FALSE;
    to->write_Adobe_marker = FALSE;
    to->optimize_coding = TRUE;
    to->arith_code = FALSE;
    to->restart_interval = best_interval(mcus_across(from));
    jpeg_write_coefficients(to, coefficients);
    for (jpeg_saved_marker_ptr marker = from->marker_list; marker; marker = marker->next) {
        jpeg_write_marker(to, marker->marker, marker->data, marker->data_length);
    }
    jpeg_finish_compress(to);
    jpeg_finish_decompress(from);
}

/// What follows the end marker: previews and films of some cameras, or padding.
static void append_rest(rewriting *it) {
    size_t count = it->reader.source.bytes_in_buffer;
    if (count == 0) return;
    if (it->count + count > it->capacity) grow(it, it->count + count);
    memcpy(it->bytes + it->count, it->reader.source.next_input_byte, count);
    it->count += count;
}

static int rewrite(rewriting *it, headrace_image_context *context) {
    if (setjmp(context->escape)) return context->status;
    headrace_jpeg_create(&it->reader, context);
    it->writer.err = &it->reader.errors;
    it->writer.client_data = &it->reader;
    jpeg_create_compress(&it->writer);
    it->destination.init_destination = init_destination;
    it->destination.empty_output_buffer = empty_output_buffer;
    it->destination.term_destination = term_destination;
    it->writer.dest = &it->destination;
    keep_markers(&it->reader.decompress);
    int status = headrace_jpeg_read_header(context, &it->reader);
    if (status != HEADRACE_IMAGE_OK) return status;
    jvirt_barray_ptr *coefficients = jpeg_read_coefficients(&it->reader.decompress);
    if (headrace_jpeg_is_smoothed(&it->reader.decompress)) {
        return headrace_image_fail(context, HEADRACE_IMAGE_UNSUPPORTED,
                                   "the scans of the progressive JPEG are not all there: readers smooth such pictures");
    }
    write(it, coefficients);
    append_rest(it);
    return HEADRACE_IMAGE_OK;
}

int headrace_jpeg_make_croppable(headrace_image_context *context, const uint8_t **result, size_t *result_count) {
    rewriting *it = calloc(1, sizeof *it);
    if (!it) return headrace_image_fail(context, HEADRACE_IMAGE_NO_MEMORY, "no memory for libjpeg");
    it->bytes = context->rewritten_room.bytes;
    it->capacity = context->rewritten_room.capacity;
    int status = rewrite(it, context);
    jpeg_destroy_compress(&it->writer);
    jpeg_destroy_decompress(&it->reader.decompress);
    context->rewritten_room.bytes = it->bytes;
    context->rewritten_room.capacity = it->capacity;
    if (status == HEADRACE_IMAGE_OK) {
        *result = it->bytes;
        *result_count = it->count;
    }
    free(it);
    return status;
}

#endif
