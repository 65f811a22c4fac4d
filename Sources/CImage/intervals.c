#include "intervals.h"

#include <stdlib.h>
#include <string.h>

#ifdef HEADRACE_IMAGES

/// Columns and rows of decoded pixels around the wanted ones, for the smooth upsampling of chroma.
enum { MARGIN_ACROSS = 4, MARGIN_DOWN = 2 };

/// The beginning of libjpeg's entropy decoder, the same in all its versions since the sixth: the functions that a scan
/// is decoded by. This is the one place where we reach behind its interface: there is no other way in for coefficients,
/// and by its own decoder restart intervals take longer than the rest of the file.
struct jpeg_entropy_decoder {
    void (*start_pass)(j_decompress_ptr jpeg);
    boolean (*decode_mcu)(j_decompress_ptr jpeg, JBLOCKROW *blocks);
};

// MARK: Finding them

static bool is_suited(const headrace_image_context *context) {
    const struct jpeg_decompress_struct *jpeg = &context->jpeg->decompress;
    return jpeg->restart_interval > 0 && !jpeg->progressive_mode && !jpeg->arith_code &&
           jpeg->comps_in_scan == jpeg->num_components && jpeg->Ss == 0 && jpeg->Se == DCTSIZE2 - 1 && jpeg->Ah == 0 &&
           jpeg->Al == 0 && !context->view.whole && !context->limits.allows_damage;
}

static int64_t divided(int64_t number, int64_t by) { return (number + by - 1) / by; }

static int64_t clamped(int64_t number, int64_t highest) {
    return number < 0 ? 0 : number > highest ? highest : number;
}

/// Notes the MCUs of the file, and those that the planned rows and columns depend on.
static void measure(headrace_image_context *context, int32_t scale, struct headrace_intervals *it) {
    const struct jpeg_decompress_struct *jpeg = &context->jpeg->decompress;
    // Of one component each block is an MCU.
    bool is_single = jpeg->num_components == 1;
    int32_t width = DCTSIZE * (is_single ? 1 : jpeg->max_h_samp_factor);
    int32_t height = DCTSIZE * (is_single ? 1 : jpeg->max_v_samp_factor);
    it->length = jpeg->restart_interval;
    it->across = divided(jpeg->image_width, width);
    it->down = divided(jpeg->image_height, height);
    it->count = divided(it->across * it->down, it->length);
    // As decoded.
    width /= scale;
    height /= scale;
    it->left = clamped((context->columns.from - MARGIN_ACROSS) / width, it->across);
    it->right = clamped(divided(context->columns.to + MARGIN_ACROSS, width), it->across);
    it->top = clamped((context->rows.from - MARGIN_DOWN) / height, it->down);
    it->bottom = clamped(divided(context->rows.to + MARGIN_DOWN, height), it->down);
}

/// Notes where each interval begins; false unless there is each restart marker in its turn, and behind them the end
/// of the picture.
static bool find(headrace_image_context *context, struct headrace_intervals *it) {
    const uint8_t *end = context->bytes + context->count;
    const uint8_t *at = context->jpeg->source.next_input_byte;
    // Each takes a marker; a header can claim any number.
    if (it->count > (end - at) / 2) return false;
    size_t *starts = (size_t *)(void *)headrace_image_reserve(&context->interval_room,
                                                              sizeof *starts * (size_t)(it->count + 1));
    if (!starts) return false;
    for (int64_t interval = 0; interval < it->count; interval++) {
        starts[interval] = (size_t)(at - context->bytes);
        at = context->functions->marker(at, end);
        if (end - at < 2) return false;
        bool is_last = interval == it->count - 1;
        if (at[1] != (is_last ? JPEG_EOI : JPEG_RST0 + (int)(interval % 8))) return false;
        at += 2;
    }
    starts[it->count] = (size_t)(at - context->bytes);
    it->starts = starts;
    return true;
}

/// Notes which tables each block of an MCU is read by.
static bool plan_blocks(const struct jpeg_decompress_struct *jpeg, struct headrace_intervals *it) {
    bool is_made[2][NUM_HUFF_TBLS] = {{false}};
    int count = 0;
    for (int component = 0; component < jpeg->comps_in_scan; component++) {
        const jpeg_component_info *info = jpeg->cur_comp_info[component];
        int dc = info->dc_tbl_no, ac = info->ac_tbl_no;
        if (dc < 0 || dc >= NUM_HUFF_TBLS || ac < 0 || ac >= NUM_HUFF_TBLS) return false;
        if (!is_made[0][dc] && !headrace_huffman_make(&it->dc[dc], jpeg->dc_huff_tbl_ptrs[dc], true)) return false;
        if (!is_made[1][ac] && !headrace_huffman_make(&it->ac[ac], jpeg->ac_huff_tbl_ptrs[ac], false)) return false;
        is_made[0][dc] = is_made[1][ac] = true;
        int blocks = jpeg->comps_in_scan == 1 ? 1 : info->h_samp_factor * info->v_samp_factor;
        if (blocks > D_MAX_BLOCKS_IN_MCU - count) return false;
        for (; blocks > 0; blocks--) {
            it->blocks[count++] = (headrace_block_plan){&it->dc[dc], &it->ac[ac], component};
        }
    }
    it->block_count = (size_t)count;
    return true;
}

bool headrace_jpeg_find_intervals(headrace_image_context *context, int32_t scale) {
    if (!is_suited(context)) return false;
    struct headrace_jpeg *decoder = context->jpeg;
    if (!decoder->intervals) decoder->intervals = calloc(1, sizeof *decoder->intervals);
    struct headrace_intervals *it = decoder->intervals;
    if (!it) return false;
    measure(context, scale, it);
    if (!plan_blocks(&decoder->decompress, it)) return false;
    size_t blocks = it->block_count * (size_t)it->length;
    if (blocks > HEADRACE_INTERVAL_BLOCKS || !find(context, it)) return false;
    uint8_t *room = headrace_image_reserve(&context->coefficient_room, 2 * blocks * sizeof(JBLOCK));
    if (!room) return false;
    it->coefficients[0] = (JCOEF *)(void *)room;
    it->coefficients[1] = it->coefficients[0] + blocks * DCTSIZE2;
    it->decoded[0] = it->decoded[1] = -1;
    it->current = -1;
    it->taken = it->length;
    return true;
}

// MARK: Decoding them

/// Whether any MCU of the interval is needed.
static bool is_needed(const struct headrace_intervals *it, int64_t interval) {
    int64_t begin = interval * it->length, end = begin + it->length;
    if (end <= it->top * it->across || begin >= it->bottom * it->across) return false;
    for (int64_t row = begin / it->across; row * it->across < end; row++) {
        int64_t from = row * it->across + it->left, to = row * it->across + it->right;
        if (row >= it->top && row < it->bottom && begin < to && from < end) return true;
    }
    return false;
}

/// Where an interval is, with zeros to decode it to.
static headrace_interval place(const headrace_image_context *context, struct headrace_intervals *it, int slot) {
    int64_t number = it->decoded[slot], all = it->across * it->down, begin = number * it->length;
    headrace_interval interval = {
        .at = context->bytes + it->starts[number],
        .end = context->bytes + it->starts[number + 1] - 2,
        .file_end = context->bytes + context->count,
        .blocks = it->coefficients[slot],
        .block_count = it->block_count * (size_t)(all - begin < it->length ? all - begin : it->length),
    };
    memset(interval.blocks, 0, interval.block_count * sizeof(JBLOCK));
    return interval;
}

/// Goes to the next interval. Where it is needed and not there yet, it is decoded together with the next one that is.
static void begin_interval(headrace_image_context *context, struct headrace_intervals *it) {
    int64_t number = ++it->current;
    it->taken = 0;
    it->source = NULL;
    if (number >= it->count || !is_needed(it, number)) return;
    if (number == it->decoded[1]) {
        it->source = it->coefficients[1];
        return;
    }
    int64_t next = number + 1;
    while (next < it->count && !is_needed(it, next)) next++;
    it->decoded[0] = number;
    it->decoded[1] = next < it->count ? next : -1;
    headrace_interval first = place(context, it, 0), second;
    if (it->decoded[1] >= 0) second = place(context, it, 1);
    if (!headrace_intervals_decode(&first, it->decoded[1] >= 0 ? &second : NULL, it->blocks, it->block_count)) {
        headrace_image_escape(context, HEADRACE_IMAGE_CORRUPT, "restart interval %lld or %lld is damaged",
                              (long long)number, (long long)it->decoded[1]);
    }
    it->source = it->coefficients[0];
}

/// In place of libjpeg's. Of intervals that are not needed all coefficients stay zero.
static boolean decode_mcu(j_decompress_ptr jpeg, JBLOCKROW *blocks) {
    const struct headrace_jpeg *decoder = jpeg->client_data;
    struct headrace_intervals *it = decoder->intervals;
    if (it->taken == it->length) begin_interval(decoder->context, it);
    int64_t mcu = it->taken++;
    // Without blocks the MCU is passed over.
    if (!it->source || !blocks) return TRUE;
    const JCOEF *from = it->source + (size_t)mcu * it->block_count * DCTSIZE2;
    for (size_t block = 0; block < it->block_count; block++, from += DCTSIZE2) {
        memcpy(blocks[block][0], from, sizeof(JBLOCK));
    }
    return TRUE;
}

void headrace_jpeg_decode_by_intervals(struct headrace_jpeg *decoder) {
    decoder->decompress.entropy->decode_mcu = decode_mcu;
}

#endif
