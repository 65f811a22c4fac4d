// Ceiling of LZ4 frames with independent blocks: LZ4_decompress_safe block by block into one buffer, and every checksum
// that the frames have.
#include "common.h"
#include "stream.h"
#include <lz4.h>

struct xxh32 {
    uint32_t lanes[4];
    uint64_t length;
    uint8_t rest[16];
};

static const uint32_t prime1 = 2654435761u, prime2 = 2246822519u, prime3 = 3266489917u, prime4 = 668265263u,
                      prime5 = 374761393u;

static inline uint32_t rotate(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

static inline uint32_t little32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, 4);
    return value;
}

static void start(struct xxh32 *hash) {
    *hash = (struct xxh32){{prime1 + prime2, prime2, 0, 0 - prime1}, 0, {0}};
}

static void stripes(struct xxh32 *hash, const uint8_t *bytes, size_t count) {
    uint32_t a = hash->lanes[0], b = hash->lanes[1], c = hash->lanes[2], d = hash->lanes[3];
    for (; count >= 16; bytes += 16, count -= 16) {
        a = rotate(a + little32(bytes) * prime2, 13) * prime1;
        b = rotate(b + little32(bytes + 4) * prime2, 13) * prime1;
        c = rotate(c + little32(bytes + 8) * prime2, 13) * prime1;
        d = rotate(d + little32(bytes + 12) * prime2, 13) * prime1;
    }
    hash->lanes[0] = a, hash->lanes[1] = b, hash->lanes[2] = c, hash->lanes[3] = d;
}

static void add(struct xxh32 *hash, const uint8_t *bytes, size_t count) {
    size_t held = hash->length & 15;
    hash->length += count;
    if (held) {
        size_t more = count < 16 - held ? count : 16 - held;
        memcpy(hash->rest + held, bytes, more);
        if (held + more < 16) return;
        stripes(hash, hash->rest, 16);
        bytes += more, count -= more;
    }
    stripes(hash, bytes, count);
    memcpy(hash->rest, bytes + (count & ~(size_t)15), count & 15);
}

static uint32_t finish(const struct xxh32 *hash) {
    const uint32_t *lanes = hash->lanes;
    uint32_t value = prime5;
    if (hash->length >= 16)
        value = rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
    value += (uint32_t)hash->length;
    size_t held = hash->length & 15, at = 0;
    for (; at + 4 <= held; at += 4) value = rotate(value + little32(hash->rest + at) * prime3, 17) * prime4;
    for (; at < held; at++) value = rotate(value + hash->rest[at] * prime5, 11) * prime1;
    value = (value ^ value >> 15) * prime2;
    value = (value ^ value >> 13) * prime3;
    return value ^ value >> 16;
}

static uint32_t hash_of(const uint8_t *bytes, size_t count) {
    struct xxh32 hash;
    start(&hash);
    add(&hash, bytes, count);
    return finish(&hash);
}

static const uint8_t *take(struct stream *stream, struct worker *worker, size_t count) {
    const uint8_t *bytes = peek(stream, worker, count);
    if (!bytes) FAIL("%s: cut off at its end", worker->file);
    stream->start += count;
    return bytes;
}

// One block; false at the mark of the frame's end.
static bool block(struct stream *stream, struct worker *worker, bool checked, struct xxh32 *hash, uint64_t *made) {
    static const size_t most = 4 << 20;
    uint8_t *output = worker->buffer + options.chunk + longest_item;
    uint32_t word = little32(take(stream, worker, 4)), size = word & 0x7fffffff;
    if (!word) return false;
    const uint8_t *input = take(stream, worker, size + (checked ? 4 : 0));
    if (checked && hash_of(input, size) != little32(input + size)) FAIL("%s: bad checksum of a block", worker->file);
    int produced = (int)size;
    if (word >> 31) output = (uint8_t *)(uintptr_t)input;
    else produced = LZ4_decompress_safe((const char *)input, (char *)output, (int)size, (int)most);
    if (produced < 0) FAIL("%s: a block is damaged", worker->file);
    if (hash) add(hash, output, (size_t)produced);
    *made += (uint64_t)produced;
    return true;
}

static void shard(struct worker *worker) {
    struct stream stream = {0};
    uint64_t made = 0, before = worker->bytes;
    const uint8_t *bytes;
    while ((bytes = peek(&stream, worker, 7))) {
        uint32_t magic = little32(bytes);
        if ((magic & ~15u) == 0x184d2a50) {
            size_t size = 8 + (size_t)little32(take(&stream, worker, 8) + 4);
            take(&stream, worker, size - 8);
            continue;
        }
        uint8_t flags = bytes[4];
        if (magic != 0x184d2204 || (flags & 0xe1) != 0x60) FAIL("%s: no LZ4 frame of independent blocks", worker->file);
        size_t header = 7 + (flags & 8 ? 8 : 0);
        bytes = take(&stream, worker, header);
        if ((hash_of(bytes + 4, header - 5) >> 8 & 255) != bytes[header - 1]) FAIL("%s: bad header", worker->file);
        struct xxh32 hash;
        start(&hash);
        while (block(&stream, worker, flags & 16, flags & 4 ? &hash : NULL, &made)) {}
        if (flags & 4 && finish(&hash) != little32(take(&stream, worker, 4)))
            FAIL("%s: bad checksum", worker->file);
    }
    worker->bytes = before + made;
}

int main(int count, char **arguments) { return measure("ceiling-lz4", 1 << 20, longest_item + (4 << 20), count, arguments); }
