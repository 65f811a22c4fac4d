// Makes the data sets of the benchmarks, the same bytes every time.
//
//   generate tar|tfrecord PREFIX SHARDS SAMPLES MIN MAX      MIN...MAX random bytes a sample, and a
//                                                            class (in tar only from 1000 bytes on)
//   generate tokens-tar PREFIX SHARDS SAMPLES BYTES          16-bit tokens whose frequencies follow Zipf's law
//   generate tokens-files FOLDER 1 SAMPLES BYTES             the same as files
#include "common.h"
#include "crc32c.h"
#include <math.h>

static void shard(struct worker *worker) { (void)worker; }

static uint64_t state;

static uint64_t random64(void) {  // xorshift64*
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return state * 2685821657736338717u;
}

static void put(FILE *file, const void *bytes, size_t count) {
    if (fwrite(bytes, 1, count, file) != count) FAIL("cannot write: %s", strerror(errno));
}

static void put_member(FILE *file, const char *name, const uint8_t *bytes, size_t size) {
    static const uint8_t zeros[512];
    char header[512] = {0};
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", 0644);
    snprintf(header + 108, 8, "%07o", 0);
    snprintf(header + 116, 8, "%07o", 0);
    snprintf(header + 124, 12, "%011zo", size);
    snprintf(header + 136, 12, "%011o", 0);
    memset(header + 148, ' ', 8);
    header[156] = '0';
    memcpy(header + 257, "ustar\0" "00", 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++) sum += (uint8_t)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    put(file, header, 512);
    put(file, bytes, size);
    put(file, zeros, -size & 511);
}

static size_t put_varint(uint8_t *to, uint64_t value) {
    size_t count = 0;
    for (; value >= 128; value >>= 7) to[count++] = (uint8_t)(value | 128);
    to[count++] = (uint8_t)value;
    return count;
}

// `tag` and a length before what is already at to + 16; returns the bytes of all, moved to the front.
static size_t wrap(uint8_t *bytes, size_t count, uint8_t tag) {
    uint8_t head[16] = {tag};
    size_t size = 1 + put_varint(head + 1, count);
    memmove(bytes + size, bytes, count);
    memcpy(bytes, head, size);
    return size + count;
}

// One entry of Features: `key`, and a bytes_list of one value or an int64_list of one.
static size_t put_feature(uint8_t *to, const char *key, const uint8_t *bytes, size_t count, uint64_t integer) {
    uint8_t *value = to + 64;
    size_t size;
    if (bytes) {
        memcpy(value, bytes, count);
        size = wrap(value, wrap(value, wrap(value, count, 0x0a), 0x0a), 0x12);
    } else {
        size = put_varint(value, integer);
        size = wrap(value, wrap(value, wrap(value, size, 0x0a), 0x1a), 0x12);
    }
    size_t name = strlen(key);
    to[0] = 0x0a, to[1] = (uint8_t)name;
    memcpy(to + 2, key, name);
    memmove(to + 2 + name, value, size);
    return wrap(to, 2 + name + size, 0x0a);
}

static void put_record(FILE *file, const uint8_t *bytes, size_t size) {
    static uint8_t *record;
    if (!record) record = malloc(4 << 20);
    size_t length = put_feature(record, "image", bytes, size, 0);
    length += put_feature(record + length, "label", NULL, 0, random64() % 1000);
    length = wrap(record, length, 0x0a);
    uint64_t head = length;
    uint32_t check = masked_crc32c((uint8_t *)&head, 8);
    put(file, &head, 8);
    put(file, &check, 4);
    put(file, record, length);
    check = masked_crc32c(record, length);
    put(file, &check, 4);
}

static void fill(uint8_t *bytes, size_t size, bool tokens) {
    for (size_t i = 0; i < size; i += tokens ? 2 : 8) {
        uint64_t value = random64();
        if (tokens) value = (uint64_t)exp((double)(value >> 11) / (double)(1ull << 53) * log(65535.0));
        memcpy(bytes + i, &value, tokens ? 2 : 8);
    }
}

static struct {
    const char *prefix;
    size_t shards, samples, least, most;
    bool tokens, records, files;
} plan;

static FILE *create(const char *path) {
    FILE *file = fopen(path, "wb");
    if (!file) FAIL("%s: %s", path, strerror(errno));
    return file;
}

static void put_sample(FILE *file, size_t shard, size_t index, const uint8_t *bytes, size_t size) {
    char name[64], path[4096];
    snprintf(name, sizeof name, "%03zu%07zu.%s", shard, index, plan.tokens ? "npy" : "jpg");
    if (plan.records) return put_record(file, bytes, size);
    if (!plan.files) {
        put_member(file, name, bytes, size);
        if (plan.tokens || plan.least < 1000) return;
        snprintf(name, sizeof name, "%03zu%07zu.cls", shard, index);
        return put_member(file, name, (const uint8_t *)"7", 1);
    }
    snprintf(path, sizeof path, "%s/%s", plan.prefix, name);
    file = create(path);
    put(file, bytes, size);
    if (fclose(file)) FAIL("%s: %s", path, strerror(errno));
}

static void make_shard(size_t shard, const uint8_t *noise, size_t noise_size) {
    static uint8_t tokens[(1 << 20) + 8], end[1024];
    char path[4096];
    snprintf(path, sizeof path, "%s-%03zu.%s", plan.prefix, shard, plan.records ? "tfrecord" : "tar");
    FILE *file = plan.files ? NULL : create(path);
    state = 1000 + shard;
    for (size_t index = 0; index < plan.samples; index++) {
        size_t size = plan.least + random64() % (plan.most - plan.least + 1);
        if (plan.tokens) fill(tokens, size, true);
        put_sample(file, shard, index, plan.tokens ? tokens : noise + random64() % (noise_size - size), size);
    }
    if (!file) return;
    if (!plan.records) put(file, end, sizeof end);
    if (fclose(file)) FAIL("%s: %s", path, strerror(errno));
}

int main(int count, char **arguments) {
    if (count < 6) FAIL("generate KIND PREFIX SHARDS SAMPLES BYTES [MOST]");
    const char *kind = arguments[1];
    plan.tokens = !strncmp(kind, "tokens", 6);
    plan.records = !strcmp(kind, "tfrecord");
    plan.files = !strcmp(kind, "tokens-files");
    if (!plan.tokens && !plan.records && strcmp(kind, "tar")) FAIL("%s is no kind of data", kind);
    plan.prefix = arguments[2];
    plan.shards = number(arguments[3]), plan.samples = number(arguments[4]), plan.least = number(arguments[5]);
    plan.most = count > 6 ? number(arguments[6]) : plan.least;
    if (plan.least > plan.most || plan.most > 1 << 20) FAIL("a payload has 1 to 1048576 bytes");
    static uint8_t noise[8 << 20];
    state = 42;
    fill(noise, sizeof noise, false);
    for (size_t shard = 0; shard < plan.shards; shard++) make_shard(shard, noise, sizeof noise);
    return 0;
}
