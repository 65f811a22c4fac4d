// Streams and events of the fake driver: a part of fake_cuda.c, which includes it once.

// --- Streams --------------------------------------------------------------------------------------------------------

static void *run(void *argument) {
    struct stream *stream = argument;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!stream->first) {
            // Told once: idle streams that told each other for ever would never sleep.
            if (stream->busy) pthread_cond_broadcast(&changed);
            stream->busy = 0;
            pthread_cond_wait(&changed, &lock);
        }
        stream->busy = 1;
        struct operation *operation = stream->first;
        if (operation->kind == COPY) {
            while (copies_allowed == 0) pthread_cond_wait(&changed, &lock);
            if (copies_allowed > 0) copies_allowed--;
            // The bytes are read now, not when the copy was queued: memory that was used again shows.
            pthread_mutex_unlock(&lock);
            memcpy(operation->to, operation->from, operation->bytes);
            pthread_mutex_lock(&lock);
            copies_done++;
            note("copied %p to %p", operation->from, operation->to);
        } else if (operation->kind == WAIT) {
            while (operation->event->reached < operation->mark) pthread_cond_wait(&changed, &lock);
        } else if (operation->kind == RECORD) {
            if (operation->event->reached < operation->mark) operation->event->reached = operation->mark;
            note("reached %p on stream %d", (void *)operation->event, stream->number);
        }
        stream->first = operation->next;
        if (!stream->first) stream->last = NULL;
        int is_end = operation->kind == END;
        free(operation);
        pthread_cond_broadcast(&changed);
        if (is_end) break;
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static struct stream *make_stream(unsigned flags) {
    struct stream *stream = calloc(1, sizeof *stream);
    stream->flags = flags;
    stream->number = streams_made++;
    pthread_create(&stream->thread, NULL, run, stream);
    return stream;
}

static void push(struct stream *stream, struct operation operation) {
    struct operation *copy = malloc(sizeof *copy);
    *copy = operation;
    copy->next = NULL;
    if (stream->last) stream->last->next = copy; else stream->first = copy;
    stream->last = copy;
    stream->busy = 1;
    pthread_cond_broadcast(&changed);
}

// 0 and 1 are the legacy default stream.
static struct stream *named(void *handle) {
    if ((uintptr_t)handle > 2) return handle;
    if (!legacy) legacy = make_stream(0);
    return legacy;
}

static void drain(struct stream *stream) {
    while (stream->first || stream->busy) pthread_cond_wait(&changed, &lock);
}

// A consumer's stream, which is none of the back end's and not counted.
void *fake_make_stream(void) {
    pthread_mutex_lock(&lock);
    struct stream *stream = make_stream(1);
    pthread_mutex_unlock(&lock);
    return stream;
}

int cuStreamCreate(void **out, unsigned flags) {
    BEGIN("cuStreamCreate")
    DEMAND_CONTEXT
    struct stream *stream = make_stream(flags);
    counts[STREAMS]++;
    note("stream %d flags %u", stream->number, flags);
    *out = stream;
    END_WITH(SUCCESS)
}

int cuStreamSynchronize(void *stream) {
    BEGIN("cuStreamSynchronize")
    DEMAND_CONTEXT
    drain(named(stream));
    END_WITH(SUCCESS)
}

int cuStreamDestroy_v2(void *handle) {
    BEGIN("cuStreamDestroy_v2")
    struct stream *stream = handle;
    push(stream, (struct operation){.kind = END});
    counts[STREAMS]--;
    pthread_mutex_unlock(&lock);
    pthread_join(stream->thread, NULL);
    free(stream);
    return SUCCESS;
}

int cuStreamWaitEvent(void *stream, void *handle, unsigned flags) {
    (void)flags;
    BEGIN("cuStreamWaitEvent")
    DEMAND_CONTEXT
    struct event *event = handle;
    note("stream %d waits for %p", named(stream)->number, handle);
    push(named(stream), (struct operation){.kind = WAIT, .event = event, .mark = event->queued});
    END_WITH(SUCCESS)
}

void fake_synchronize(void *stream) {
    pthread_mutex_lock(&lock);
    drain(named(stream));
    pthread_mutex_unlock(&lock);
}

// Work of a consumer that lasts until a test says so: a wait for an event that is reached by hand.
void *fake_start_work(void *stream) {
    pthread_mutex_lock(&lock);
    struct event *event = calloc(1, sizeof *event);
    event->queued = 1;
    push(named(stream), (struct operation){.kind = WAIT, .event = event, .mark = 1});
    pthread_mutex_unlock(&lock);
    return event;
}

void fake_finish_work(void *work) {
    pthread_mutex_lock(&lock);
    ((struct event *)work)->reached = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

// --- Events ---------------------------------------------------------------------------------------------------------

int cuEventCreate(void **out, unsigned flags) {
    (void)flags;
    BEGIN("cuEventCreate")
    DEMAND_CONTEXT
    *out = calloc(1, sizeof(struct event));
    counts[EVENTS]++;
    END_WITH(SUCCESS)
}

int cuEventRecord(void *handle, void *stream) {
    BEGIN("cuEventRecord")
    DEMAND_CONTEXT
    struct event *event = handle;
    event->queued++;
    note("record %p on stream %d", handle, named(stream)->number);
    push(named(stream), (struct operation){.kind = RECORD, .event = event, .mark = event->queued});
    END_WITH(SUCCESS)
}

int cuEventQuery(void *handle) {
    BEGIN("cuEventQuery")
    struct event *event = handle;
    END_WITH(event->reached >= event->queued ? SUCCESS : NOT_READY)
}

int cuEventSynchronize(void *handle) {
    BEGIN("cuEventSynchronize")
    struct event *event = handle;
    uint64_t mark = event->queued;
    while (event->reached < mark) pthread_cond_wait(&changed, &lock);
    // What fails on the device is told by whoever asks next.
    status = failure_of("late");
    END_WITH(status)
}

int cuEventDestroy_v2(void *handle) {
    BEGIN("cuEventDestroy_v2")
    counts[EVENTS]--;
    free(handle);
    END_WITH(SUCCESS)
}
