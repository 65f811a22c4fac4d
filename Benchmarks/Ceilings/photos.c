// Makes tar shards of photo-like JPEGs, the same bytes every time with the same libjpeg: clouds of noise at all sizes
// (amplitude falls with frequency, as in photos), edges, and grain; 4:2:0, quality 90 to 95.
//
//   photos PREFIX SHARDS SAMPLES
#include "common.h"

#include <jpeglib.h>
#include <math.h>

static void shard(struct worker *worker) { (void)worker; }

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

enum { MOST_WIDTH = 640, MOST_HEIGHT = 560 };

static uint64_t state;

static uint64_t random64(void) {  // xorshift64*
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return state * 2685821657736338717u;
}

static double uniform(void) { return (double)(random64() >> 11) * 0x1p-53; }

static float plane[3][MOST_HEIGHT][MOST_WIDTH];

// Adds noise that is interpolated between random numbers `step` pixels apart.
static void add_cloud(int channel, int width, int height, int step, float strength) {
    static float grid[MOST_HEIGHT + 2][MOST_WIDTH + 2];
    for (int y = 0; y <= height / step + 1; y++) {
        for (int x = 0; x <= width / step + 1; x++) grid[y][x] = (float)(uniform() - 0.5) * strength;
    }
    for (int y = 0; y < height; y++) {
        float down = (float)(y % step) / (float)step, *upper = grid[y / step], *lower = grid[y / step + 1];
        for (int x = 0; x < width; x++) {
            float across = (float)(x % step) / (float)step;
            int at = x / step;
            float top = upper[at] + (upper[at + 1] - upper[at]) * across;
            float bottom = lower[at] + (lower[at + 1] - lower[at]) * across;
            plane[channel][y][x] += top + (bottom - top) * down;
        }
    }
}

// A half plane of another brightness: edges have all frequencies.
static void add_edge(int width, int height) {
    double angle = uniform() * 6.2831853, distance = (uniform() - 0.5) * 0.8 * width;
    float across = (float)cos(angle), down = (float)sin(angle), step[3];
    for (int channel = 0; channel < 3; channel++) step[channel] = (float)(uniform() - 0.5) * 60;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            float side = ((float)x - (float)width / 2) * across + ((float)y - (float)height / 2) * down;
            if (side < (float)distance) continue;
            for (int channel = 0; channel < 3; channel++) plane[channel][y][x] += step[channel];
        }
    }
}

static void draw(int width, int height) {
    double grain = 6 + 13 * uniform();
    for (int channel = 0; channel < 3; channel++) {
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) plane[channel][y][x] = 128;
        }
        for (int step = 128; step >= 2; step /= 2) add_cloud(channel, width, height, step, 14 * sqrtf((float)step));
    }
    for (int edge = 0; edge < 6; edge++) add_edge(width, height);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            float noise = (float)((uniform() + uniform() - 1) * grain * 2);
            for (int channel = 0; channel < 3; channel++) plane[channel][y][x] += noise;
        }
    }
}

static void compress(struct jpeg_compress_struct *jpeg, int width, int height, int quality, uint8_t **bytes,
                     unsigned long *size) {
    static uint8_t row[MOST_WIDTH * 3];
    jpeg_mem_dest(jpeg, bytes, size);
    jpeg->image_width = (JDIMENSION)width;
    jpeg->image_height = (JDIMENSION)height;
    jpeg->input_components = 3;
    jpeg->in_color_space = JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, quality, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int channel = 0; channel < 3; channel++) {
                row[3 * x + channel] = (uint8_t)fminf(255, fmaxf(0, plane[channel][y][x]));
            }
        }
        JSAMPROW rows[] = {row};
        jpeg_write_scanlines(jpeg, rows, 1);
    }
    jpeg_finish_compress(jpeg);
}

static void write_shard(const char *prefix, int number, int samples) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    char name[4096];
    snprintf(name, sizeof name, "%s-%03d.tar", prefix, number);
    FILE *file = fopen(name, "wb");
    if (!file) FAIL("%s: %s", name, strerror(errno));
    uint8_t *bytes = NULL;
    unsigned long size = 0;
    for (int sample = 0; sample < samples; sample++) {
        int width = 400 + (int)(random64() % 147), height = 340 + (int)(random64() % 137);
        draw(width, height);
        compress(&jpeg, width, height, 90 + (int)(random64() % 6), &bytes, &size);
        snprintf(name, sizeof name, "%010d.jpg", number * samples + sample);
        put_member(file, name, bytes, size);
        uint8_t class[8];
        int digits = snprintf((char *)class, sizeof class, "%d", (int)(random64() % 1000));
        snprintf(name, sizeof name, "%010d.cls", number * samples + sample);
        put_member(file, name, class, (size_t)digits);
    }
    static const uint8_t end[1024];
    put(file, end, sizeof end);
    if (fclose(file)) FAIL("cannot write: %s", strerror(errno));
    free(bytes);
    jpeg_destroy_compress(&jpeg);
}

int main(int count, char **arguments) {
    if (count != 4) FAIL("photos PREFIX SHARDS SAMPLES");
    int shards = (int)number(arguments[2]), samples = (int)number(arguments[3]);
    for (int at = 0; at < shards; at++) {
        state = 88172645463325252u + (uint64_t)at * 2654435769u;
        write_shard(arguments[1], at, samples);
    }
    return 0;
}
