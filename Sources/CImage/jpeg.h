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
    /// NULL until a file has had some.
    struct headrace_intervals *intervals;
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

/// Looks for restart intervals by which the planned rows and columns of the file that was opened can be decoded; false
/// where it has none, or anything about them is not as it should be.
bool headrace_jpeg_find_intervals(headrace_image_context *context, int32_t scale);

/// From jpeg_start_decompress on, takes the intervals that were found instead of the file from front to back. Escapes
/// where one that is needed is damaged.
void headrace_jpeg_decode_by_intervals(struct headrace_jpeg *decoder);

#endif
#endif
