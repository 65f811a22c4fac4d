// Ceiling of TFRecord: pread into one buffer, both CRCs of every record and, with --examples 1, the places of the
// features of the tf.Example in it.
#include "common.h"
#include "crc32c.h"
#include "stream.h"

// A tag's length-delimited content; `at` is moved behind it.
static inline const uint8_t *content(const uint8_t **at, const uint8_t *end, uint8_t tag, const uint8_t **content_end,
                                     const struct worker *worker) {
    const uint8_t *next = *at;
    uint64_t length = 0;
    if (next >= end || *next++ != tag) FAIL("%s: no tf.Example", worker->file);
    for (int shift = 0; shift < 64; shift += 7) {
        if (next >= end) FAIL("%s: no tf.Example", worker->file);
        length |= (uint64_t)(*next & 127) << shift;
        if (*next++ < 128) break;
    }
    if (length > (uint64_t)(end - next)) FAIL("%s: no tf.Example", worker->file);
    *at = *content_end = next + length;
    return next;
}

// The features: name, kind and where the list of values is.
static inline uint64_t parse_example(const uint8_t *record, size_t length, const struct worker *worker) {
    const uint8_t *record_end = record + length, *end, *entry_end, *name_end, *feature_end, *list_end;
    const uint8_t *at = content(&record, record_end, 0x0a, &end, worker);
    uint64_t places = 0;
    while (at < end) {
        const uint8_t *entry = content(&at, end, 0x0a, &entry_end, worker);
        const uint8_t *name = content(&entry, entry_end, 0x0a, &name_end, worker);
        const uint8_t *feature = content(&entry, entry_end, 0x12, &feature_end, worker);
        uint8_t kind = feature < feature_end ? *feature : 0;
        const uint8_t *list = content(&feature, feature_end, kind, &list_end, worker);
        places += kind + (uint64_t)(name_end - name) + (uint64_t)(list_end - list);
    }
    return places;
}

static inline uint32_t little32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, 4);
    return value;
}

static void shard(struct worker *worker) {
    struct stream stream = {0};
    const uint8_t *record;
    while ((record = peek(&stream, worker, 12))) {
        uint64_t length;
        memcpy(&length, record, 8);
        if (masked_crc32c(record, 8) != little32(record + 8)) FAIL("%s: bad CRC of a length", worker->file);
        record = peek(&stream, worker, length > longest_item ? length : length + 16) + 12;
        if (masked_crc32c(record, length) != little32(record + length)) FAIL("%s: bad CRC", worker->file);
        if (options.examples) worker->touched += parse_example(record, length, worker);
        worker->samples++;
        stream.start += length + 16;
    }
}

int main(int count, char **arguments) { return measure("ceiling-tfrecord", 1 << 20, longest_item, count, arguments); }
