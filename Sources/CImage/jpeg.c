#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jpeg.h"

#ifdef HEADRACE_IMAGES

// Behind jpeglib.h, which declares what it needs.
#include <jerror.h>

/// Columns beside the wanted ones that chroma upsampling looks at, so that a crop has the whole picture's pixels.
enum { UPSAMPLING_MARGIN = 4 };

/// The reduced picture must still be so many times as large as the result: the rest of the reduction averages
/// over enough pixels to look like a reduction of the full picture.
enum { LEAST_REDUCTION_LEFT = 2 };

static headrace_image_context *context_of(j_common_ptr jpeg) {
    return ((struct headrace_jpeg *)jpeg->client_data)->context;
}

static size_t offset_of(j_common_ptr jpeg) {
    struct headrace_jpeg *decoder = jpeg->client_data;
    return decoder->count - decoder->source.bytes_in_buffer;
}

// MARK: What libjpeg calls

static int status_of(int code) {
    switch (code) {
        case JERR_OUT_OF_MEMORY: return HEADRACE_IMAGE_NO_MEMORY;
        case JERR_SOF_UNSUPPORTED:
        case JERR_BAD_PRECISION:
        case JERR_ARITH_NOTIMPL:
        case JERR_CONVERSION_NOTIMPL:
        case JERR_CCIR601_NOTIMPL:
        case JERR_FRACT_SAMPLE_NOTIMPL:
        case JERR_COMPONENT_COUNT:
        case JERR_NOTIMPL:
        case JERR_NOT_COMPILED: return HEADRACE_IMAGE_UNSUPPORTED;
        case JERR_INPUT_EOF: return HEADRACE_IMAGE_TRUNCATED;
        default: return HEADRACE_IMAGE_CORRUPT;
    }
}

static void error_exit(j_common_ptr jpeg) {
    char words[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, words);
    int code = jpeg->err->msg_code;
    const char *what = "the JPEG is damaged";
    if (code == JERR_SOF_UNSUPPORTED) what = "the JPEG is of a kind that is not read (lossless or hierarchical)";
    if (code == JERR_BAD_PRECISION) what = "the JPEG has not 8 bits a channel";
    if (code == JERR_ARITH_NOTIMPL) what = "the JPEG is arithmetic-coded, which this libjpeg cannot read";
    headrace_image_escape(context_of(jpeg), status_of(code), "%s: %s, near byte %zu", what, words, offset_of(jpeg));
}

/// Bytes behind a scan that cameras write to fill up.
enum { PADDING_BYTES = 64 };

/// Remarks that change no pixel of a good file. Stray bytes are nothing before the first scan; behind one they are
/// data of a picture that should have been larger, unless they are few.
static bool is_benign(j_common_ptr jpeg) {
    if (!jpeg->is_decompressor) return false;
    switch (jpeg->err->msg_code) {
        case JWRN_EXTRANEOUS_DATA:
            return ((j_decompress_ptr)jpeg)->input_scan_number == 0 || jpeg->err->msg_parm.i[0] <= PADDING_BYTES;
        case JWRN_ADOBE_XFORM:
        case JWRN_JFIF_MAJOR:
        case JWRN_TOO_MUCH_DATA: return true;
        default: return false;
    }
}

static void emit_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    headrace_image_context *context = context_of(jpeg);
    char words[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, words);
    if (!is_benign(jpeg) && !context->limits.allows_damage) {
        headrace_image_escape(context, HEADRACE_IMAGE_CORRUPT, "the JPEG is damaged: %s, near byte %zu", words,
                              offset_of(jpeg));
    }
    if (!context->remark[0]) snprintf(context->remark, sizeof context->remark, "%s", words);
}

static void output_message(j_common_ptr jpeg) { (void)jpeg; }

static void init_source(j_decompress_ptr jpeg) { (void)jpeg; }

static boolean fill_input_buffer(j_decompress_ptr jpeg) {
    static const JOCTET end[] = {0xff, JPEG_EOI};
    headrace_image_context *context = context_of((j_common_ptr)jpeg);
    if (!context->limits.allows_damage) {
        headrace_image_escape(context, HEADRACE_IMAGE_TRUNCATED,
                              "the JPEG ends after %zu bytes, inside its data: its end marker is missing",
                              context->count);
    }
    if (!context->remark[0]) snprintf(context->remark, sizeof context->remark, "the file ends too early");
    jpeg->src->next_input_byte = end;
    jpeg->src->bytes_in_buffer = sizeof end;
    return TRUE;
}

static void skip_input_data(j_decompress_ptr jpeg, long count) {
    if (count <= 0) return;
    if ((size_t)count > jpeg->src->bytes_in_buffer) {
        fill_input_buffer(jpeg);
        return;
    }
    jpeg->src->next_input_byte += count;
    jpeg->src->bytes_in_buffer -= (size_t)count;
}

static void term_source(j_decompress_ptr jpeg) { (void)jpeg; }

static void progress_monitor(j_common_ptr jpeg) {
    headrace_image_context *context = context_of(jpeg);
    int scan = ((j_decompress_ptr)jpeg)->input_scan_number;
    if (scan > context->limits.scans) {
        headrace_image_escape(context, HEADRACE_IMAGE_LIMIT, "the JPEG has more scans than the limit imageScans of %d",
                              context->limits.scans);
    }
}

// MARK: Header

void headrace_jpeg_create(struct headrace_jpeg *decoder, headrace_image_context *context) {
    decoder->context = context;
    decoder->decompress.err = jpeg_std_error(&decoder->errors);
    decoder->errors.error_exit = error_exit;
    decoder->errors.emit_message = emit_message;
    decoder->errors.output_message = output_message;
    decoder->decompress.client_data = decoder;
    jpeg_create_decompress(&decoder->decompress);
    decoder->source.init_source = init_source;
    decoder->source.fill_input_buffer = fill_input_buffer;
    decoder->source.skip_input_data = skip_input_data;
    decoder->source.resync_to_restart = jpeg_resync_to_restart;
    decoder->source.term_source = term_source;
    decoder->decompress.src = &decoder->source;
    decoder->progress.progress_monitor = progress_monitor;
    decoder->decompress.progress = &decoder->progress;
}

static int make(headrace_image_context *context) {
    struct headrace_jpeg *decoder = calloc(1, sizeof *decoder);
    if (!decoder) return headrace_image_fail(context, HEADRACE_IMAGE_NO_MEMORY, "no memory for libjpeg");
    if (setjmp(context->escape)) {
        jpeg_destroy_decompress(&decoder->decompress);
        free(decoder);
        return context->status;
    }
    headrace_jpeg_create(decoder, context);
    context->jpeg = decoder;
    return HEADRACE_IMAGE_OK;
}

void headrace_jpeg_feed(struct headrace_jpeg *decoder, const uint8_t *bytes, size_t count) {
    decoder->source.next_input_byte = bytes;
    decoder->source.bytes_in_buffer = count;
    decoder->count = count;
}

static const char *colours_of(const struct jpeg_decompress_struct *jpeg) {
    switch (jpeg->jpeg_color_space) {
        case JCS_GRAYSCALE: return "grey";
        case JCS_RGB: return "RGB";
        case JCS_YCbCr: return "YCbCr";
        case JCS_CMYK: return "CMYK";
        case JCS_YCCK: return "YCCK";
        default: return "unknown";
    }
}

int headrace_jpeg_read_header(headrace_image_context *context, struct headrace_jpeg *decoder) {
    struct jpeg_decompress_struct *jpeg = &decoder->decompress;
    headrace_jpeg_feed(decoder, context->bytes, context->count);
    jpeg_read_header(jpeg, TRUE);
    headrace_image_info *info = &context->info;
    info->format = HEADRACE_IMAGE_JPEG;
    info->width = (int32_t)jpeg->image_width;
    info->height = (int32_t)jpeg->image_height;
    info->components = jpeg->num_components;
    info->bits = jpeg->data_precision;
    info->is_progressive = jpeg->progressive_mode;
    context->colours = colours_of(jpeg);
    info->orientation = headrace_jpeg_orientation(context->bytes, context->count);
    if (jpeg->jpeg_color_space == JCS_UNKNOWN) {
        return headrace_image_fail(context, HEADRACE_IMAGE_UNSUPPORTED, "a JPEG of %d components without a known meaning",
                                   jpeg->num_components);
    }
    if (jpeg->data_precision != 8) {
        return headrace_image_fail(context, HEADRACE_IMAGE_UNSUPPORTED, "the JPEG has %d bits a channel instead of 8",
                                   jpeg->data_precision);
    }
    // Newer libraries read lossless files, which cannot be reduced or cropped as others can.
    if (!jpeg->progressive_mode && jpeg->Se != DCTSIZE2 - 1) {
        return headrace_image_fail(context, HEADRACE_IMAGE_UNSUPPORTED,
                                   "the JPEG is of a kind that is not read (lossless)");
    }
    return headrace_image_check_size(context);
}

/// No table of a file has this in a place that is not used.
enum { TABLE_OF_ANOTHER = 0xee };

/// The library keeps the tables of one file for the next, which may have none. What a file is must not depend on the one
/// before it.
static void mark_tables(struct jpeg_decompress_struct *jpeg) {
    for (int table = 0; table < NUM_HUFF_TBLS; table++) {
        if (jpeg->quant_tbl_ptrs[table]) memset(jpeg->quant_tbl_ptrs[table], 0, sizeof(JQUANT_TBL));
        if (jpeg->dc_huff_tbl_ptrs[table]) jpeg->dc_huff_tbl_ptrs[table]->bits[0] = TABLE_OF_ANOTHER;
        if (jpeg->ac_huff_tbl_ptrs[table]) jpeg->ac_huff_tbl_ptrs[table]->bits[0] = TABLE_OF_ANOTHER;
    }
}

static bool is_of_another(const JHUFF_TBL *table) { return table && table->bits[0] == TABLE_OF_ANOTHER; }

/// Whether the file would be decoded by tables of another, or may be, where scans are to come.
static bool lacks_tables(const struct jpeg_decompress_struct *jpeg) {
    bool may_use_any = jpeg->progressive_mode || jpeg->comps_in_scan != jpeg->num_components;
    for (int table = 0; table < NUM_HUFF_TBLS && may_use_any; table++) {
        if (is_of_another(jpeg->dc_huff_tbl_ptrs[table]) || is_of_another(jpeg->ac_huff_tbl_ptrs[table])) return true;
    }
    for (int component = 0; component < jpeg->num_components; component++) {
        const jpeg_component_info *info = &jpeg->comp_info[component];
        int quantization = info->quant_tbl_no;
        if (quantization < NUM_QUANT_TBLS && jpeg->quant_tbl_ptrs[quantization] &&
            jpeg->quant_tbl_ptrs[quantization]->quantval[0] == 0) {
            return true;
        }
        // Of a component whose scan is to come they are not known.
        if (may_use_any) continue;
        int dc = info->dc_tbl_no, ac = info->ac_tbl_no;
        if (dc < NUM_HUFF_TBLS && is_of_another(jpeg->dc_huff_tbl_ptrs[dc])) return true;
        if (ac < NUM_HUFF_TBLS && is_of_another(jpeg->ac_huff_tbl_ptrs[ac])) return true;
    }
    return false;
}

int headrace_jpeg_open(headrace_image_context *context) {
    if (!context->jpeg && make(context) != HEADRACE_IMAGE_OK) return context->status;
    struct jpeg_decompress_struct *jpeg = &context->jpeg->decompress;
    // Whatever the file before has left.
    jpeg_abort_decompress(jpeg);
    if (setjmp(context->escape)) {
        jpeg_abort_decompress(jpeg);
        return context->status;
    }
    mark_tables(jpeg);
    int status = headrace_jpeg_read_header(context, context->jpeg);
    if (status != HEADRACE_IMAGE_OK || !lacks_tables(jpeg)) return status;
    jpeg_destroy_decompress(jpeg);
    headrace_jpeg_create(context->jpeg, context);
    return headrace_jpeg_read_header(context, context->jpeg);
}

// MARK: Pixels

/// Of 1, 2, 4 and 8 the largest reduction that leaves enough for the resize: libjpeg has fast transforms for these.
static int32_t best_scale(const headrace_image_view *view) {
    if (!view->antialias) return 1;
    int32_t scale = 8;
    while (scale > 1 && ((int64_t)view->resized_width * scale * LEAST_REDUCTION_LEFT > view->box_width ||
                         (int64_t)view->resized_height * scale * LEAST_REDUCTION_LEFT > view->box_height)) {
        scale /= 2;
    }
    return scale;
}

/// Whether the end marker is there, without decoding up to it. Within the data of a scan its bytes cannot occur.
static bool has_end(const headrace_image_context *context) {
    const struct jpeg_source_mgr *source = &context->jpeg->source;
    const uint8_t *from = source->next_input_byte;
    // The bit reader looks ahead, and may have met it.
    if (context->jpeg->decompress.unread_marker == JPEG_EOI) return true;
    for (const uint8_t *at = context->bytes + context->count; at - from >= 2; at--) {
        if (at[-2] == 0xff && at[-1] == JPEG_EOI) return true;
    }
    return false;
}

bool headrace_jpeg_is_smoothed(const struct jpeg_decompress_struct *jpeg) {
    if (!jpeg->progressive_mode || !jpeg->coef_bits) return false;
    for (int component = 0; component < jpeg->num_components; component++) {
        for (int place = 0; place < DCTSIZE2; place++) {
            if (jpeg->coef_bits[component][place] != 0) return true;
        }
    }
    return false;
}

/// Whether the library crops columns right. Of 4:1:0 it transforms chroma at twice the scale of the rest, and takes half
/// of its width for all of it.
static bool crops_columns(const struct jpeg_decompress_struct *jpeg) {
    for (int component = 0; component < jpeg->num_components; component++) {
        const jpeg_component_info *info = &jpeg->comp_info[component];
#if JPEG_LIB_VERSION >= 70
        int size = info->DCT_h_scaled_size, least = jpeg->min_DCT_h_scaled_size;
#else
        int size = info->DCT_scaled_size, least = jpeg->min_DCT_scaled_size;
#endif
        if (size != least && info->h_samp_factor * size != jpeg->max_h_samp_factor * least) return false;
    }
    return true;
}

/// Reads the planned rows, and those behind them where only the end of the file tells whether they are whole.
static void read_rows(headrace_image_context *context, bool is_end_known) {
    struct jpeg_decompress_struct *jpeg = &context->jpeg->decompress;
    int colours = jpeg->out_color_space == JCS_CMYK ? HEADRACE_ROWS_CMYK : HEADRACE_ROWS_RGBX;
    int32_t from = context->columns.from - UPSAMPLING_MARGIN, to = context->columns.to + UPSAMPLING_MARGIN;
    if (from < 0) from = 0;
    if (to > (int32_t)jpeg->output_width) to = (int32_t)jpeg->output_width;
    JDIMENSION first_column = 0, width = jpeg->output_width;
    bool whole = context->view.whole || headrace_jpeg_is_smoothed(jpeg);
    if (!whole && crops_columns(jpeg) && (from > 0 || to < (int32_t)width)) {
        first_column = (JDIMENSION)from;
        width = (JDIMENSION)(to - from);
        jpeg_crop_scanline(jpeg, &first_column, &width);
    }
    size_t stride;
    uint8_t *pair = headrace_image_row_pair(context, (int32_t)width, &stride);
    if (!pair) headrace_image_escape(context, HEADRACE_IMAGE_NO_MEMORY, "no memory for rows of %u pixels", width);
    JSAMPROW lines[2] = {pair, pair + stride};
    int32_t row = 0, end = context->rows.to;
    if (!whole && context->rows.from > 0) {
        row = (int32_t)jpeg_skip_scanlines(jpeg, (JDIMENSION)context->rows.from);
    }
    while (row < context->rows.from) row += (int32_t)jpeg_read_scanlines(jpeg, lines, 1);
    while (row < end) {
        JDIMENSION wanted = row + 1 < end ? 2 : 1, got = 0;
        while (got < wanted) got += jpeg_read_scanlines(jpeg, lines + got, wanted - got);
        headrace_image_take(context, pair, got == 2 ? pair + stride : NULL, (int32_t)first_column, (int32_t)width,
                            colours);
        row += (int32_t)got;
    }
    bool needs_rest = whole || (!is_end_known && end == (int32_t)jpeg->output_height);
    if (!needs_rest) return;
    while (jpeg->output_scanline < jpeg->output_height) jpeg_read_scanlines(jpeg, lines, 1);
    jpeg_finish_decompress(jpeg);
}

/// Decodes the planned rows of the file that was opened, from front to back or by the intervals that were found.
static int decode(headrace_image_context *context, int32_t scale, bool by_intervals) {
    struct jpeg_decompress_struct *jpeg = &context->jpeg->decompress;
    if (setjmp(context->escape)) {
        jpeg_abort_decompress(jpeg);
        return context->status;
    }
    jpeg->scale_num = 1;
    jpeg->scale_denom = (unsigned)scale;
    bool is_ink = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = is_ink ? JCS_CMYK : JCS_EXT_RGBX;
    // Of a file with several scans this reads all; only then is there a first row.
    jpeg_start_decompress(jpeg);
    if (by_intervals) headrace_jpeg_decode_by_intervals(context->jpeg);
    bool is_whole_in_memory = jpeg_has_multiple_scans(jpeg);
    read_rows(context, by_intervals);
    bool was_cut_short = jpeg->output_scanline > 0 && jpeg->output_scanline < jpeg->output_height;
    bool needs_end = was_cut_short && !is_whole_in_memory && !by_intervals && !context->limits.allows_damage;
    if (needs_end && !has_end(context)) {
        jpeg_abort_decompress(jpeg);
        return headrace_image_fail(context, HEADRACE_IMAGE_TRUNCATED,
                                   "the JPEG has no end marker in its %zu bytes: it was cut off", context->count);
    }
    jpeg_abort_decompress(jpeg);
    headrace_image_finish(context);
    return HEADRACE_IMAGE_OK;
}

int headrace_jpeg_read(headrace_image_context *context) {
    headrace_image_view turned = context->view;
    if (turned.orientation >= 5) {
        turned.box_width = context->view.box_height;
        turned.box_height = context->view.box_width;
        turned.resized_width = context->view.resized_height;
        turned.resized_height = context->view.resized_width;
    }
    int32_t scale = best_scale(&turned);
    int32_t width = context->info.width, height = context->info.height;
    int status = headrace_image_plan(context, width, height, scale);
    if (status == HEADRACE_IMAGE_OK && headrace_jpeg_find_intervals(context, scale)) {
        status = decode(context, scale, true);
        if (status == HEADRACE_IMAGE_OK || status == HEADRACE_IMAGE_NO_MEMORY) return status;
        // libjpeg says what is wrong with it, and where; or is content.
        status = headrace_jpeg_open(context);
        context->info.format = 0;
        if (status == HEADRACE_IMAGE_OK) status = headrace_image_plan(context, width, height, scale);
    }
    if (status != HEADRACE_IMAGE_OK) {
        jpeg_abort_decompress(&context->jpeg->decompress);
        return status;
    }
    return decode(context, scale, false);
}

void headrace_jpeg_destroy(struct headrace_jpeg *jpeg) {
    if (!jpeg) return;
    jpeg_destroy_decompress(&jpeg->decompress);
    free(jpeg->intervals);
    free(jpeg);
}

bool headrace_image_is_built_in(void) { return true; }

int headrace_image_jpeg_version(void) { return LIBJPEG_TURBO_VERSION_NUMBER; }

#else

int headrace_image_jpeg_version(void) { return 0; }

int headrace_jpeg_make_croppable(headrace_image_context *context, const uint8_t **result, size_t *result_count) {
    *result = NULL;
    *result_count = 0;
    return headrace_jpeg_open(context);
}

int headrace_jpeg_open(headrace_image_context *context) {
    return headrace_image_fail(context, HEADRACE_IMAGE_NOT_BUILT_IN,
                               "images are not built in: this Headrace was built without its package trait Images");
}

int headrace_jpeg_read(headrace_image_context *context) { return headrace_jpeg_open(context); }

void headrace_jpeg_destroy(struct headrace_jpeg *jpeg) { (void)jpeg; }

bool headrace_image_is_built_in(void) { return false; }

#endif
