#include <string.h>

#include "jpeg.h"

#ifdef HEADRACE_IMAGES

// Restart intervals of a JPEG can be decoded without those in front of them. The ones that a crop touches are put
// together to a smaller picture, or, where they do not begin at the same column of every row of MCUs, to one as wide as
// before in which the others hold nothing; libjpeg decodes that. It writes about 10 % of what it would have had to read.

/// Columns and rows of decoded pixels around the wanted ones, for the smooth upsampling of chroma.
enum { MARGIN_ACROSS = 4, MARGIN_DOWN = 2 };

/// libjpeg upsamples smoothly only where a row has more than 2 samples of chroma: no cut may be narrower.
enum { LEAST_WIDTH = 32 };

/// Bytes behind the end: libjpeg decodes byte by byte where it sees fewer than 512 for each block of an MCU.
enum { SLACK = 512 * 10 };

/// Bits of a stream with a byte 0 behind each 0xff.
typedef struct {
    uint8_t *at;
    uint32_t bits;
    int count;
} bit_writer;

/// Where MCUs lie in a picture, and which of them are needed.
typedef struct {
    /// Of the file: MCUs of a row, rows of them, MCUs of a restart interval, and how many intervals that are.
    int64_t across, down, length, intervals;
    /// Pixels of an MCU, as stored and as decoded.
    int32_t width, height, decoded_width, decoded_height;
    /// What is needed.
    int64_t left, right, top, bottom;
} grid;

// MARK: What is needed

static bool is_suited(const headrace_image_context *context) {
    const struct jpeg_decompress_struct *jpeg = &context->jpeg->decompress;
    return jpeg->restart_interval > 0 && !jpeg->progressive_mode && !jpeg->arith_code &&
           jpeg->comps_in_scan == jpeg->num_components && jpeg->Ss == 0 && jpeg->Se == DCTSIZE2 - 1 && jpeg->Ah == 0 &&
           jpeg->Al == 0 && !context->view.whole && !context->limits.allows_damage;
}

static int64_t divided(int64_t number, int64_t by) { return (number + by - 1) / by; }

static int64_t common_divisor(int64_t a, int64_t b) { return b == 0 ? a : common_divisor(b, a % b); }

/// The MCUs of the file, and those that the planned rows and columns depend on.
static grid grid_of(const headrace_image_context *context, int32_t scale) {
    const struct jpeg_decompress_struct *jpeg = &context->jpeg->decompress;
    // max_h_samp_factor is known when the first scan was met. Of one component each block is an MCU.
    bool is_single = jpeg->num_components == 1;
    grid it = {
        .length = jpeg->restart_interval,
        .width = DCTSIZE * (is_single ? 1 : jpeg->max_h_samp_factor),
        .height = DCTSIZE * (is_single ? 1 : jpeg->max_v_samp_factor),
    };
    it.decoded_width = it.width / scale;
    it.decoded_height = it.height / scale;
    it.across = divided(jpeg->image_width, it.width);
    it.down = divided(jpeg->image_height, it.height);
    it.intervals = divided(it.across * it.down, it.length);
    it.left = (context->columns.from - MARGIN_ACROSS) / it.decoded_width;
    it.top = (context->rows.from - MARGIN_DOWN) / it.decoded_height;
    it.right = divided(context->columns.to + MARGIN_ACROSS, it.decoded_width);
    it.bottom = divided(context->rows.to + MARGIN_DOWN, it.decoded_height);
    int64_t least = divided(LEAST_WIDTH, it.decoded_width);
    if (it.right > it.across) it.right = it.across;
    if (it.left > it.right - least) it.left = it.right - least;
    if (it.left < 0) it.left = 0;
    if (it.right < it.left + least) it.right = it.left + least;
    if (it.right > it.across) it.right = it.across;
    if (it.top < 0) it.top = 0;
    if (it.bottom > it.down) it.bottom = it.down;
    return it;
}

// MARK: Markers

/// Where each interval begins, and behind the last of them where the one after it would; NULL unless there is each
/// restart marker in its turn, and behind them the end of the picture.
static const size_t *find_intervals(headrace_image_context *context, const grid *it) {
    const uint8_t *end = context->bytes + context->count;
    const uint8_t *at = context->jpeg->source.next_input_byte;
    // Each takes a marker; a header can claim any number.
    if (it->intervals > (end - at) / 2) return NULL;
    size_t *starts =
        (size_t *)(void *)headrace_image_reserve(&context->interval_room, sizeof *starts * (size_t)(it->intervals + 1));
    if (!starts) return NULL;
    for (int64_t interval = 0; interval < it->intervals; interval++) {
        starts[interval] = (size_t)(at - context->bytes);
        at = context->functions->marker(at, end);
        if (end - at < 2) return NULL;
        bool is_last = interval == it->intervals - 1;
        if (at[1] != (is_last ? JPEG_EOI : JPEG_RST0 + (int)(interval % 8))) return NULL;
        at += 2;
    }
    starts[it->intervals] = (size_t)(at - context->bytes);
    return starts;
}

// MARK: Nothing

static void put(bit_writer *writer, uint32_t bits, int count) {
    writer->bits = writer->bits << count | bits;
    writer->count += count;
    while (writer->count >= 8) {
        writer->count -= 8;
        uint8_t byte = (uint8_t)(writer->bits >> writer->count);
        *writer->at++ = byte;
        if (byte == 0xff) *writer->at++ = 0;
    }
}

/// The code of the symbol 0: a difference of 0, or no coefficients up to the end of the block. Its length is 0 where the
/// table has none.
static int zero_code(const JHUFF_TBL *table, uint32_t *code) {
    if (!table) return 0;
    int place = 0;
    *code = 0;
    for (int length = 1; length <= 16; length++, *code <<= 1) {
        for (int of_length = 0; of_length < table->bits[length]; of_length++, place++, ++*code) {
            if (place > 255) return 0;
            if (table->huffval[place] == 0) return *code >> length ? 0 : length;
        }
    }
    return 0;
}

/// Bytes that an interval without any coefficient takes at most.
static size_t empty_room(const struct jpeg_decompress_struct *jpeg, int64_t length) {
    size_t blocks = 0;
    for (int component = 0; component < jpeg->comps_in_scan; component++) {
        const jpeg_component_info *info = jpeg->cur_comp_info[component];
        blocks += (size_t)(info->h_samp_factor * info->v_samp_factor);
    }
    // Two codes of 16 bits, all of whose bytes may be stuffed.
    return blocks * (size_t)length * 8 + 2;
}

/// Writes an interval of `length` MCUs that are as the one before, without detail; 0 where the tables have no codes
/// for that.
static size_t write_empty(const struct jpeg_decompress_struct *jpeg, int64_t length, uint8_t *bytes) {
    uint32_t codes[MAX_COMPS_IN_SCAN][2];
    int lengths[MAX_COMPS_IN_SCAN][2], blocks[MAX_COMPS_IN_SCAN];
    for (int component = 0; component < jpeg->comps_in_scan; component++) {
        const jpeg_component_info *info = jpeg->cur_comp_info[component];
        blocks[component] = jpeg->comps_in_scan == 1 ? 1 : info->h_samp_factor * info->v_samp_factor;
        lengths[component][0] = zero_code(jpeg->dc_huff_tbl_ptrs[info->dc_tbl_no], &codes[component][0]);
        lengths[component][1] = zero_code(jpeg->ac_huff_tbl_ptrs[info->ac_tbl_no], &codes[component][1]);
        if (lengths[component][0] == 0 || lengths[component][1] == 0) return 0;
    }
    bit_writer writer = {.at = bytes};
    for (int64_t mcu = 0; mcu < length; mcu++) {
        for (int component = 0; component < jpeg->comps_in_scan; component++) {
            for (int block = 0; block < blocks[component]; block++) {
                put(&writer, codes[component][0], lengths[component][0]);
                put(&writer, codes[component][1], lengths[component][1]);
            }
        }
    }
    if (writer.count > 0) put(&writer, (1u << (8 - writer.count)) - 1, 8 - writer.count);
    return (size_t)(writer.at - bytes);
}

// MARK: The smaller picture

static uint8_t *put_pair(uint8_t *at, size_t number) {
    *at++ = (uint8_t)(number >> 8);
    *at++ = (uint8_t)number;
    return at;
}

/// Bytes of a header at most: start, frame, restart interval and scan.
enum { HEADER_ROOM = 2 + 10 + 3 * MAX_COMPONENTS + 6 + 8 + 2 * MAX_COMPS_IN_SCAN };

/// The header of a baseline picture of this size. Tables are where libjpeg keeps them from the file's header.
static uint8_t *put_header(uint8_t *at, const struct jpeg_decompress_struct *jpeg, size_t width, size_t height,
                           size_t length) {
    at = put_pair(at, 0xffd8);
    at = put_pair(at, 0xffc1);
    at = put_pair(at, 8 + 3 * (size_t)jpeg->num_components);
    *at++ = 8;
    at = put_pair(at, height);
    at = put_pair(at, width);
    *at++ = (uint8_t)jpeg->num_components;
    for (int component = 0; component < jpeg->num_components; component++) {
        const jpeg_component_info *info = &jpeg->comp_info[component];
        *at++ = (uint8_t)info->component_id;
        *at++ = (uint8_t)(info->h_samp_factor << 4 | info->v_samp_factor);
        *at++ = (uint8_t)info->quant_tbl_no;
    }
    at = put_pair(at, 0xffdd);
    at = put_pair(at, 4);
    at = put_pair(at, length);
    at = put_pair(at, 0xffda);
    at = put_pair(at, 6 + 2 * (size_t)jpeg->comps_in_scan);
    *at++ = (uint8_t)jpeg->comps_in_scan;
    for (int component = 0; component < jpeg->comps_in_scan; component++) {
        const jpeg_component_info *info = jpeg->cur_comp_info[component];
        *at++ = (uint8_t)info->component_id;
        *at++ = (uint8_t)(info->dc_tbl_no << 4 | info->ac_tbl_no);
    }
    *at++ = 0;
    *at++ = DCTSIZE2 - 1;
    *at++ = 0;
    return at;
}

/// A stream in the making.
typedef struct {
    const headrace_image_context *context;
    const size_t *starts;
    uint8_t *at;
    int64_t count;
} stream;

/// Ends the interval before, if there was one.
static void begin_interval(stream *it) {
    if (it->count > 0) {
        memset(it->at, 0, HEADRACE_INTERVAL_PADDING);
        it->at = put_pair(it->at + HEADRACE_INTERVAL_PADDING, JPEG_RST0 + 0xff00 + (size_t)((it->count - 1) % 8));
    }
    it->count++;
}

static void put_interval(stream *it, int64_t interval) {
    begin_interval(it);
    size_t count = it->starts[interval + 1] - 2 - it->starts[interval];
    memcpy(it->at, it->context->bytes + it->starts[interval], count);
    it->at += count;
}

/// Whether any MCU of an interval is needed.
static bool touches(const grid *it, int64_t interval) {
    int64_t begin = interval * it->length, end = begin + it->length;
    for (int64_t row = begin / it->across; row < it->bottom && row * it->across < end; row++) {
        int64_t from = row * it->across + it->left, to = row * it->across + it->right;
        if (row >= it->top && begin < to && from < end) return true;
    }
    return false;
}

/// Which intervals a cut takes: from each of `rows` runs, which are `stride` apart, `count` of them from `first` on.
typedef struct {
    int64_t first, count, rows, stride;
    /// The part of the picture that they are, in MCUs.
    int64_t left, right, top, bottom;
    /// Whether those of them that are not needed hold nothing.
    bool has_gaps;
} choice;

static choice choose(const grid *it) {
    choice chosen = {0};
    if (it->across % it->length == 0) {
        // Every row of MCUs begins with an interval: a smaller picture.
        int64_t from = it->left / it->length, to = divided(it->right, it->length);
        chosen.stride = it->across / it->length;
        chosen.first = it->top * chosen.stride + from;
        chosen.count = to - from;
        chosen.rows = it->bottom - it->top;
        chosen.left = from * it->length;
        chosen.right = to * it->length;
        chosen.top = it->top;
    } else {
        // As wide as before, from the last row on that begins with an interval.
        int64_t period = it->length / common_divisor(it->length, it->across);
        chosen.top = it->top / period * period;
        chosen.first = chosen.top * it->across / it->length;
        chosen.count = divided(it->bottom * it->across, it->length) - chosen.first;
        chosen.rows = 1;
        chosen.right = it->across;
        chosen.has_gaps = true;
    }
    chosen.bottom = it->bottom;
    return chosen;
}

static size_t smaller(int64_t a, int64_t b) { return (size_t)(a < b ? a : b); }

bool headrace_jpeg_cut_out(headrace_image_context *context, int32_t scale, headrace_jpeg_cut *cut) {
    if (!is_suited(context)) return false;
    const struct jpeg_decompress_struct *jpeg = &context->jpeg->decompress;
    grid it = grid_of(context, scale);
    if (it.intervals < 2) return false;
    const size_t *starts = find_intervals(context, &it);
    if (!starts) return false;
    choice chosen = choose(&it);
    // Without gaps nothing is written that was not read, beside markers and what is in front of them.
    size_t markers = (size_t)(chosen.rows * chosen.count) * (HEADRACE_INTERVAL_PADDING + 2);
    size_t empty = chosen.has_gaps ? empty_room(jpeg, it.length) : 0;
    size_t copied = 0;
    for (int64_t row = 0; row < chosen.rows; row++) {
        int64_t first = chosen.first + row * chosen.stride;
        copied += starts[first + chosen.count] - starts[first];
    }
    size_t gaps = chosen.has_gaps ? empty * (size_t)(chosen.count + 1) : 0;
    uint8_t *bytes = headrace_image_reserve(&context->cut_room, HEADER_ROOM + copied + markers + gaps + 2 + SLACK);
    if (!bytes) return false;
    // The picture's own right and lower edge stay where they are within the last MCU.
    size_t width = smaller(jpeg->image_width, chosen.right * it.width) - (size_t)(chosen.left * it.width);
    size_t height = smaller(jpeg->image_height, chosen.bottom * it.height) - (size_t)(chosen.top * it.height);
    // What an interval without anything is, is written behind everything else.
    uint8_t *nothing = bytes + HEADER_ROOM + copied + markers + gaps + 2 - empty;
    size_t nothing_count = chosen.has_gaps ? write_empty(jpeg, it.length, nothing) : 0;
    stream out = {.context = context, .starts = starts, .at = put_header(bytes, jpeg, width, height, (size_t)it.length)};
    for (int64_t row = 0; row < chosen.rows; row++) {
        for (int64_t index = 0; index < chosen.count; index++) {
            int64_t interval = chosen.first + row * chosen.stride + index;
            if (nothing_count == 0 || touches(&it, interval)) {
                put_interval(&out, interval);
                continue;
            }
            begin_interval(&out);
            memcpy(out.at, nothing, nothing_count);
            out.at += nothing_count;
        }
    }
    out.at = put_pair(out.at, 0xff00 | JPEG_EOI);
    cut->bytes = bytes;
    cut->count = (size_t)(out.at - bytes) + SLACK;
    cut->left = (int32_t)(chosen.left * it.decoded_width);
    cut->top = (int32_t)(chosen.top * it.decoded_height);
    return true;
}

#endif
