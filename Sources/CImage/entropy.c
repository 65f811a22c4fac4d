#include <string.h>

#include "intervals.h"

#ifdef HEADRACE_IMAGES

// Baseline entropy decoding of a restart interval whose end is known: no marker can come up in it. A code and what it
// says about the following bits are looked up together, so that most coefficients take one look.
//
// An entry of a lookup table: bits 0...4 the bits it takes, 5 and 6 its kind, 8...11 the run of zeros in front (of DC:
// 0), 12...15 the number of further bits, 16...31 the value. 0: the code is longer.

enum { KIND_SYMBOL = 0, KIND_VALUE = 1 << 5, KIND_END = 1 << 6, LENGTH_MASK = 31 };

#define INLINE __attribute__((always_inline)) static inline

/// A run that leads out of the block ends in its last place, as libjpeg has it.
static const uint8_t natural_order[DCTSIZE2 + 16] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63};

// MARK: Tables

/// What `size` bits stand for.
INLINE int32_t extended(uint32_t bits, int size) {
    int32_t value = (int32_t)bits;
    return value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
}

/// Fills the entries that begin with a code of `length` bits.
static void fill(headrace_huffman *table, uint32_t code, int length, uint8_t symbol, bool is_dc) {
    int run = is_dc ? 0 : symbol >> 4, size = symbol & 15, rest = HEADRACE_LOOKUP_BITS - length;
    int32_t *entries = table->lookup + ((size_t)code << rest);
    int32_t entry = length | KIND_SYMBOL | run << 8 | size << 12;
    if (is_dc && size == 0) entry = length | KIND_VALUE;
    if (!is_dc && size == 0 && run != 15) entry = length | KIND_END;
    bool has_value = size > 0 && size <= rest;
    for (int32_t index = 0; index < 1 << rest; index++) {
        if (!has_value) {
            entries[index] = entry;
            continue;
        }
        int32_t value = extended((uint32_t)index >> (rest - size), size);
        entries[index] = (int32_t)((uint32_t)value << 16) | run << 8 | KIND_VALUE | (length + size);
    }
}

bool headrace_huffman_make(headrace_huffman *table, const JHUFF_TBL *from, bool is_dc) {
    if (!from) return false;
    memset(table->lookup, 0, sizeof table->lookup);
    memcpy(table->symbols, from->huffval, sizeof table->symbols);
    uint32_t code = 0;
    int32_t place = 0;
    for (int length = 1; length <= 16; length++, code <<= 1) {
        table->offset[length] = place - (int32_t)code;
        for (int of_length = 0; of_length < from->bits[length]; of_length++, code++, place++) {
            // More codes than there are bits for; a code of ones only is none.
            if (place > 255 || code >= (1u << length) - 1) return false;
            if (is_dc && from->huffval[place] > 15) return false;
            if (length <= HEADRACE_LOOKUP_BITS) fill(table, code, length, from->huffval[place], is_dc);
        }
        table->limit[length] = code << (16 - length);
    }
    // Ends every search.
    table->limit[17] = UINT32_MAX;
    return true;
}

// MARK: Bits

/// The bits of an interval: `count` of them, from the highest on. Behind its last byte come zeros, of which `excess`
/// bytes were made.
typedef struct {
    const uint8_t *at, *end, *file_end;
    uint64_t bits;
    int32_t count, excess;
} bit_reader;

INLINE bool has_ff(uint64_t bytes) {
    uint64_t inverted = ~bytes;
    return ((inverted - 0x0101010101010101u) & ~inverted & 0x8080808080808080u) != 0;
}

/// By value: what a pointer leads to would not stay in registers.
__attribute__((noinline)) static bit_reader refilled_slowly(bit_reader reader) {
    while (reader.count <= 56) {
        uint64_t byte = 0;
        if (reader.at < reader.end) {
            byte = *reader.at++;
            // Behind it lies a 0, or this were a marker.
            if (byte == 0xff) reader.at++;
        } else {
            reader.excess++;
        }
        reader.bits |= byte << (56 - reader.count);
        reader.count += 8;
    }
    return reader;
}

/// Makes at least 32 bits ready: the longest code with its longest value.
INLINE void refill(bit_reader *reader) {
    if (reader->count >= 32) return;
    if (reader->file_end - reader->at >= 8) {
        uint64_t bytes;
        memcpy(&bytes, reader->at, 8);
        bytes = __builtin_bswap64(bytes);
        // The interval's end has one behind it, too.
        if (!has_ff(bytes)) {
            // What is beyond the count is taken once more by the next one.
            reader->bits |= bytes >> reader->count;
            int more = (63 - reader->count) >> 3;
            reader->at += more;
            reader->count += more * 8;
            return;
        }
    }
    *reader = refilled_slowly(*reader);
}

INLINE void take(bit_reader *reader, int count) {
    reader->bits <<= count;
    reader->count -= count;
}

/// Takes `size` bits, 1 to 15.
INLINE int32_t take_value(bit_reader *reader, int size) {
    uint32_t bits = (uint32_t)(reader->bits >> (64 - size));
    take(reader, size);
    return extended(bits, size);
}

/// A symbol whose code is longer than what is looked up, with its length from bit 8 on; negative where there is none.
__attribute__((noinline)) static int long_symbol(uint64_t ready, const headrace_huffman *table) {
    uint32_t bits = (uint32_t)(ready >> 48);
    int length = HEADRACE_LOOKUP_BITS + 1;
    while (bits >= table->limit[length]) length++;
    if (length > 16) return -1;
    return table->symbols[((int32_t)(bits >> (16 - length)) + table->offset[length]) & 255] | length << 8;
}

/// Whether all was taken, but for the bits that fill the last byte, and nothing beyond it.
static bool ends_well(const bit_reader *reader) {
    int32_t left = reader->count - 8 * reader->excess;
    return reader->at == reader->end && left >= 0 && left < 8;
}

// MARK: Blocks

/// Where an interval's decoding stands: numbers only, so that all of it can be in registers.
typedef struct {
    bit_reader reader;
    JCOEF *block;
    const headrace_huffman *ac;
    /// The next coefficient of the block.
    int32_t place;
    /// The next block of the MCU.
    size_t index, blocks_to_come;
} state;

typedef enum { GOES_ON, IS_DONE, IS_DAMAGED } outcome;

/// Begins the next block with its mean, which is told by its difference to that of the component's block before.
INLINE outcome begin_block(state *it, int32_t *last_dc, const headrace_block_plan *plan, size_t plan_count) {
    if (it->blocks_to_come == 0) return IS_DONE;
    it->blocks_to_come--;
    const headrace_block_plan *block = plan + it->index;
    it->index = it->index + 1 == plan_count ? 0 : it->index + 1;
    it->block += DCTSIZE2;
    it->ac = block->ac;
    it->place = 1;
    refill(&it->reader);
    int32_t entry = block->dc->lookup[it->reader.bits >> (64 - HEADRACE_LOOKUP_BITS)];
    int32_t difference = entry >> 16;
    if (!(entry & KIND_VALUE)) {
        int symbol = entry != 0 ? (entry >> 12 & 15) | (entry & LENGTH_MASK) << 8 : long_symbol(it->reader.bits, block->dc);
        if (symbol < 0) return IS_DAMAGED;
        take(&it->reader, symbol >> 8);
        difference = (symbol & 15) == 0 ? 0 : take_value(&it->reader, symbol & 15);
    } else {
        take(&it->reader, entry & LENGTH_MASK);
    }
    int32_t dc = last_dc[block->component] + difference;
    if (dc != (JCOEF)dc) return IS_DAMAGED;
    last_dc[block->component] = dc;
    it->block[0] = (JCOEF)dc;
    return GOES_ON;
}

/// Takes the next coefficient, or learns that the block has no more: then `place` is behind it.
INLINE outcome step(state *it) {
    refill(&it->reader);
    int32_t entry = it->ac->lookup[it->reader.bits >> (64 - HEADRACE_LOOKUP_BITS)];
    if (__builtin_expect(entry & KIND_VALUE, KIND_VALUE)) {
        take(&it->reader, entry & LENGTH_MASK);
        it->place += (entry >> 8 & 15) + 1;
        it->block[natural_order[it->place - 1]] = (JCOEF)(entry >> 16);
        return GOES_ON;
    }
    if (entry & KIND_END) {
        take(&it->reader, entry & LENGTH_MASK);
        it->place = DCTSIZE2;
        return GOES_ON;
    }
    int symbol = (entry >> 8 & 15) << 4 | (entry >> 12 & 15) | (entry & LENGTH_MASK) << 8;
    if (entry == 0) symbol = long_symbol(it->reader.bits, it->ac);
    if (symbol < 0) return IS_DAMAGED;
    take(&it->reader, symbol >> 8);
    int run = symbol >> 4 & 15, size = symbol & 15;
    it->place += run + 1;
    if (size > 0) it->block[natural_order[it->place - 1]] = (JCOEF)take_value(&it->reader, size);
    if (size == 0 && run != 15) it->place = DCTSIZE2;
    return GOES_ON;
}

INLINE state state_of(const headrace_interval *interval) {
    state it = {
        .reader = {.at = interval->at, .end = interval->end, .file_end = interval->file_end},
        .block = interval->blocks - DCTSIZE2,
        .blocks_to_come = interval->block_count,
    };
    return it;
}

/// Decodes to the end what was begun.
__attribute__((noinline)) static bool finish(state it, int32_t *last_dc, outcome so_far,
                                             const headrace_block_plan *plan, size_t plan_count) {
    while (so_far == GOES_ON) {
        if (it.place >= DCTSIZE2) so_far = begin_block(&it, last_dc, plan, plan_count);
        if (so_far == GOES_ON) so_far = step(&it);
    }
    return so_far == IS_DONE && ends_well(&it.reader);
}

bool headrace_intervals_decode(const headrace_interval *first, const headrace_interval *second,
                               const headrace_block_plan *plan, size_t plan_count) {
    int32_t dc_of_one[MAX_COMPS_IN_SCAN] = {0}, dc_of_other[MAX_COMPS_IN_SCAN] = {0};
    state one = state_of(first);
    outcome of_one = begin_block(&one, dc_of_one, plan, plan_count);
    if (!second) return finish(one, dc_of_one, of_one, plan, plan_count);
    // Each symbol waits for the one before it. Two streams wait for different ones.
    state other = state_of(second);
    outcome of_other = begin_block(&other, dc_of_other, plan, plan_count);
    while (of_one == GOES_ON && of_other == GOES_ON) {
        of_one = step(&one);
        of_other = step(&other);
        if (one.place >= DCTSIZE2 && of_one == GOES_ON) of_one = begin_block(&one, dc_of_one, plan, plan_count);
        if (other.place >= DCTSIZE2 && of_other == GOES_ON) {
            of_other = begin_block(&other, dc_of_other, plan, plan_count);
        }
    }
    return finish(one, dc_of_one, of_one, plan, plan_count) &&
           finish(other, dc_of_other, of_other, plan, plan_count);
}

#endif
