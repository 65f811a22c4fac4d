#ifndef HEADRACE_IMAGE_H
#define HEADRACE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// JPEG and PNG files to pixels of a training sample, in one pass: decode no more than is needed, resize, lay out.
// No type of libjpeg or libpng shows here. Everything is a function of the arguments: whatever is random is drawn
// by the caller.

/// What a worker keeps from image to image: the libraries' state, and memory that grows to what images need. One
/// thread at a time.
typedef struct headrace_image_context headrace_image_context;

enum {
    HEADRACE_IMAGE_OK = 0,
    /// Neither a JPEG nor a PNG.
    HEADRACE_IMAGE_FOREIGN,
    HEADRACE_IMAGE_TRUNCATED,
    HEADRACE_IMAGE_CORRUPT,
    /// Valid, but a kind of file that is refused by name.
    HEADRACE_IMAGE_UNSUPPORTED,
    HEADRACE_IMAGE_LIMIT,
    HEADRACE_IMAGE_NO_MEMORY,
    /// The package was built without its trait `Images`.
    HEADRACE_IMAGE_NOT_BUILT_IN,
};

enum { HEADRACE_IMAGE_JPEG = 1, HEADRACE_IMAGE_PNG = 2 };

/// What a file may demand.
typedef struct {
    int64_t pixels;
    int32_t side;
    /// Scans of a progressive JPEG: each costs as much as a pass over all its coefficients, and takes few bytes.
    int32_t scans;
    /// Whether a file that ends too early, or a damaged one that the library can conceal, is let through.
    bool allows_damage;
} headrace_image_limits;

/// What the header says.
typedef struct {
    int32_t format;
    int32_t width, height;
    /// Channels as stored.
    int32_t components;
    /// Bits of a channel as stored.
    int32_t bits;
    /// Of EXIF: 1 (upright) to 8.
    int32_t orientation;
    bool is_progressive;
    bool has_alpha;
} headrace_image_info;

/// What becomes of transparency.
enum { HEADRACE_ALPHA_DROP = 0, HEADRACE_ALPHA_ON_BLACK, HEADRACE_ALPHA_ON_WHITE };

/// Which pixels are wanted, in the upright picture: the box is cut out, resized, and of the result the window is
/// kept. Nothing outside the box has an influence on it.
typedef struct {
    /// The orientation to undo; 1: none.
    int32_t orientation;
    int32_t box_x, box_y, box_width, box_height;
    int32_t resized_width, resized_height;
    int32_t window_x, window_y, window_width, window_height;
    /// Mirrors the window.
    bool flip;
    /// Averages over all that a pixel covers; else the four neighbours are interpolated.
    bool antialias;
    /// Decodes and checks the whole file, whatever is wanted of it.
    bool whole;
    int32_t alpha;
} headrace_image_view;

enum { HEADRACE_JITTER_NONE = 0, HEADRACE_JITTER_BRIGHTNESS, HEADRACE_JITTER_CONTRAST, HEADRACE_JITTER_SATURATION };

/// Changes of colour in their order, with factors in 1/65536.
typedef struct {
    int32_t operation[3];
    int32_t factor[3];
} headrace_image_jitter;

enum { HEADRACE_IMAGE_U8 = 0, HEADRACE_IMAGE_F32, HEADRACE_IMAGE_F16, HEADRACE_IMAGE_BF16 };

/// How pixels are written.
typedef struct {
    /// 3: red, green, blue; 1: grey.
    int32_t channels;
    int32_t element;
    /// Channels first, or last.
    bool planar;
    /// Of elements that are not U8: value = pixel * scale + bias, each rounded to f32.
    float scale[3], bias[3];
} headrace_image_layout;

/// Whether JPEG and PNG were built in.
bool headrace_image_is_built_in(void);

/// A context; NULL without memory. `portable` leaves the vector instructions alone, for comparison.
headrace_image_context *headrace_image_create(bool portable);
void headrace_image_destroy(headrace_image_context *context);

/// Reads the header of the file at `bytes`, which must stay there until headrace_image_read.
int headrace_image_open(headrace_image_context *context, const uint8_t *bytes, size_t count,
                        const headrace_image_limits *limits, headrace_image_info *info);

/// What the channels of the file that was opened last stand for: "YCbCr", "palette", ...
const char *headrace_image_colours(const headrace_image_context *context);

/// Writes the wanted pixels of the file that was opened last, window_height x window_width of them.
int headrace_image_read(headrace_image_context *context, const headrace_image_view *view,
                        const headrace_image_jitter *jitter, const headrace_image_layout *layout, void *pixels);

/// Writes a JPEG anew with the same coefficients, application data and comments: baseline, with optimised tables and
/// restart markers every few MCUs, so that headrace_image_read decodes little more of it than a crop. `result` stays
/// until the next call, and ends in what follows the picture in the file. Fails for what headrace_image_open refuses,
/// for damage, and for what cannot be written so.
int headrace_image_make_croppable(headrace_image_context *context, const uint8_t *bytes, size_t count,
                                  const headrace_image_limits *limits, const uint8_t **result, size_t *result_count);

/// The library that writes these, whose version the bytes depend on; 0: none is built in.
int headrace_image_jpeg_version(void);

/// What was wrong, after a call that did not return HEADRACE_IMAGE_OK.
const char *headrace_image_message(const headrace_image_context *context);

/// What the library remarked on the last file that is no damage; empty where there was nothing.
const char *headrace_image_remark(const headrace_image_context *context);

/// Resizes a picture of 4 bytes a pixel without gaps, with the arithmetic of headrace_image_read.
int headrace_image_resize(headrace_image_context *context, const uint8_t *pixels, int32_t width, int32_t height,
                          const headrace_image_view *view, const headrace_image_layout *layout, void *result);

#endif
