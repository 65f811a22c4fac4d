#include <string.h>

#include "context.h"

// The orientation is looked up in the bytes themselves: libjpeg would copy the whole marker first.

static uint32_t number(const uint8_t *at, int bytes, bool is_little) {
    uint32_t value = 0;
    for (int index = 0; index < bytes; index++) value = value << 8 | at[is_little ? bytes - 1 - index : index];
    return value;
}

int32_t headrace_exif_orientation(const uint8_t *bytes, size_t count) {
    if (count >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        count -= 6;
    }
    if (count < 8) return 1;
    bool is_little = memcmp(bytes, "II*\0", 4) == 0;
    if (!is_little && memcmp(bytes, "MM\0*", 4) != 0) return 1;
    size_t directory = number(bytes + 4, 4, is_little);
    if (directory > count || count - directory < 2) return 1;
    size_t entries = number(bytes + directory, 2, is_little);
    const uint8_t *entry = bytes + directory + 2;
    size_t left = count - directory - 2;
    for (size_t index = 0; index < entries && left >= 12; index++, entry += 12, left -= 12) {
        if (number(entry, 2, is_little) != 0x0112) continue;
        // One SHORT; what else it may claim to be means nothing.
        if (number(entry + 2, 2, is_little) != 3 || number(entry + 4, 4, is_little) != 1) return 1;
        uint32_t value = number(entry + 8, 2, is_little);
        return value >= 1 && value <= 8 ? (int32_t)value : 1;
    }
    return 1;
}

int32_t headrace_jpeg_orientation(const uint8_t *bytes, size_t count) {
    size_t at = 2;
    while (at + 4 <= count) {
        if (bytes[at] != 0xff) return 1;
        uint8_t marker = bytes[at + 1];
        if (marker == 0xff) {
            // A fill byte.
            at++;
            continue;
        }
        // Image data begins, or there are no lengths any more.
        if (marker == 0xda || marker == 0xd9 || marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd7)) return 1;
        size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (length < 2 || length > count - at - 2) return 1;
        const uint8_t *payload = bytes + at + 4;
        if (marker == 0xe1 && length >= 8 && memcmp(payload, "Exif\0\0", 6) == 0) {
            return headrace_exif_orientation(payload, length - 2);
        }
        at += 2 + length;
    }
    return 1;
}
