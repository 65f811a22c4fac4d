#include <zlib.h>

// inflateInit2 and crc32_z are reached through typed functions: the first is a macro, which Swift cannot see.
static inline int headrace_inflate_init(z_streamp stream, int window_bits) {
    return inflateInit2(stream, window_bits);
}
