#ifndef HEADRACE_IMAGE_INTERVALS_H
#define HEADRACE_IMAGE_INTERVALS_H

#include "jpeg.h"

#ifdef HEADRACE_IMAGES

// Restart intervals of a JPEG can be decoded without those in front of them: of a crop only those that it touches are.

/// Bits that are looked up at once.
enum { HEADRACE_LOOKUP_BITS = 10 };

/// A Huffman table: what begins with some bits.
typedef struct {
    /// Of the codes that are not longer than that, by the bits that follow: see entropy.c.
    int32_t lookup[1 << HEADRACE_LOOKUP_BITS];
    /// By length: the code behind the last one, aligned to 16 bits, and what is added to a code for its place in
    /// `symbols`.
    uint32_t limit[18];
    int32_t offset[17];
    uint8_t symbols[256];
} headrace_huffman;

/// Makes the table out of the file's; false where it is none that any code could be read by.
bool headrace_huffman_make(headrace_huffman *table, const JHUFF_TBL *from, bool is_dc);

/// One block of an MCU: its tables, and the component whose difference it is.
typedef struct {
    const headrace_huffman *dc, *ac;
    int component;
} headrace_block_plan;

/// An interval on its way to coefficients.
typedef struct {
    /// Its bytes; what follows it in the file may be looked at.
    const uint8_t *at, *end, *file_end;
    /// What to write to, zeros, and for how many blocks.
    JCOEF *blocks;
    size_t block_count;
} headrace_interval;

/// Decodes one interval, or two of them side by side, whose MCUs have these blocks. False where data are not as they
/// should be.
bool headrace_intervals_decode(const headrace_interval *first, const headrace_interval *second,
                               const headrace_block_plan *plan, size_t plan_count);

/// Blocks of an interval at most; with longer ones files are decoded from front to back.
enum { HEADRACE_INTERVAL_BLOCKS = 4096 };

/// Which intervals a picture has and needs, and how far decoding has come.
struct headrace_intervals {
    /// Where each begins in the file, and behind the last the one after it would.
    const size_t *starts;
    /// MCUs of a row, rows of them, MCUs of an interval, and how many intervals there are.
    int64_t across, down, length, count;
    /// The MCUs that are needed.
    int64_t left, right, top, bottom;

    /// The interval that MCUs are taken from, and how many of them were.
    int64_t current, taken;
    /// The coefficients of two intervals that are needed, and which these are.
    int64_t decoded[2];
    JCOEF *coefficients[2];
    /// What `current` is among them; NULL where it is not needed.
    const JCOEF *source;
    size_t block_count;
    headrace_block_plan blocks[D_MAX_BLOCKS_IN_MCU];
    headrace_huffman dc[NUM_HUFF_TBLS], ac[NUM_HUFF_TBLS];
};

#endif
#endif
