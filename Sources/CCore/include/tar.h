#ifndef HEADRACE_TAR_H
#define HEADRACE_TAR_H

#include <stddef.h>
#include <stdint.h>

/// A plain member of a tar: where its header lies, and what that says.
struct headrace_member {
    int64_t offset;
    /// Payload bytes; they begin 512 bytes behind `offset`.
    int64_t length;
    /// The name is the header's first bytes, the key the name's.
    int16_t name_length;
    int16_t key_length;
    /// 1 where the key is that of the member before.
    int16_t continues;
    /// For the caller.
    int16_t field;
};

/// Finds whole samples of plain members from the front of `count` bytes, at most `capacity` members. Plain are regular
/// files in ustar headers that are intact, with a name of at most 100 bytes that WebDataset takes for a field, and
/// with payload and padding within the bytes. A sample is whole where a plain member of another key follows it, or,
/// with `is_whole`, where it ends with the bytes.
///
/// `examined` becomes the offset of the first header that was not looked at, or is not plain. Returns the number of
/// members in whole samples; what follows them, the caller has to judge.
size_t headrace_plain_members(
    const void *data, size_t count, uint64_t longest, int is_whole, struct headrace_member *members, size_t capacity,
    size_t *examined);

#endif
