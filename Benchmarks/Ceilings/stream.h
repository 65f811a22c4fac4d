// A shard from front to back through the worker's one buffer: what is not used up is moved to the front.
static const size_t longest_item = 8 << 20;

struct stream {
    size_t offset;      // In the file, of what is read next.
    size_t start, end;  // In the buffer.
};

// Pointer to the next `count` bytes; NULL at the end of the shard, an error where it ends before.
static inline const uint8_t *peek(struct stream *stream, struct worker *worker, size_t count) {
    if (__builtin_expect(stream->end - stream->start < count, 0)) {
        if (count > longest_item) FAIL("%s: %zu bytes in one piece", worker->file, count);
        memmove(worker->buffer, worker->buffer + stream->start, stream->end - stream->start);
        stream->end -= stream->start;
        stream->start = 0;
        size_t room = options.chunk + (count > options.chunk ? count - options.chunk : 0) - stream->end;
        size_t got = read_at(worker, worker->buffer + stream->end, room, stream->offset);
        worker->bytes += got;
        stream->offset += got;
        stream->end += got;
        if (stream->end == 0) return NULL;
        if (stream->end < count) FAIL("%s: cut off at its end", worker->file);
    }
    return worker->buffer + stream->start;
}
