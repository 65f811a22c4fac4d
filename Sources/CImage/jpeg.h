#ifndef HEADRACE_IMAGE_JPEG_H
#define HEADRACE_IMAGE_JPEG_H

#include "context.h"

#ifdef HEADRACE_IMAGES

// jpeglib.h wants FILE.
#include <stdio.h>

#include <jpeglib.h>

/// libjpeg reading from memory, whose errors escape to the context.
struct headrace_jpeg {
    struct jpeg_decompress_struct decompress;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    headrace_image_context *context;
    /// Bytes that were fed.
    size_t count;
    /// Bytes that were put in front of every restart marker; 0: the file is as it was found.
    int padding;
};

/// Makes a decoder out of zeros; escapes without memory.
void headrace_jpeg_create(struct headrace_jpeg *decoder, headrace_image_context *context);

/// Lets it read these bytes.
void headrace_jpeg_feed(struct headrace_jpeg *decoder, const uint8_t *bytes, size_t count);

/// Reads the header of the context's file into `context->info`, and refuses kinds of files that are not read.
/// Escapes where it is damaged.
int headrace_jpeg_read_header(headrace_image_context *context, struct headrace_jpeg *decoder);

/// Whether the scans leave coefficients less precise than they should be: then libjpeg smooths each block by its
/// neighbours, and a crop would not have the pixels of the whole picture.
bool headrace_jpeg_is_smoothed(const struct jpeg_decompress_struct *jpeg);

/// Bytes that a cut-out stream has in front of each restart marker: the bit reader looks ahead by up to 8 bytes, and
/// where it meets a marker it decodes the last MCU once more, byte by byte.
enum { HEADRACE_INTERVAL_PADDING = 12 };

/// A part of the picture as a stream of its own, whose tables are those of the whole file.
typedef struct {
    const uint8_t *bytes;
    size_t count;
    /// Where it lies in the picture, in decoded (reduced) pixels.
    int32_t left, top;
} headrace_jpeg_cut;

/// Cuts out the restart intervals that the planned rows and columns need; false where the file has none that suit,
/// or anything about them is not as it should be.
bool headrace_jpeg_cut_out(headrace_image_context *context, int32_t scale, headrace_jpeg_cut *cut);

#endif
#endif
