"""tf.data: a TFRecordDataset a file, batched there, as many files at once as threads, with tf.io.parse_example unless
--raw.

Of the ways there are this was the fastest (NOTES.md): `TFRecordDataset(files, num_parallel_reads=...)` hands single
records from thread to thread, which makes it several times as slow for tiny ones.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import common
import tensorflow as tf

FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}


def samples(files, threads, batch, raw):
    def batches(file):
        return tf.data.TFRecordDataset(file, buffer_size=8 << 20 if raw else 256 << 10).batch(batch)

    shards = tf.data.Dataset.from_tensor_slices(files)
    options = {"num_parallel_calls": threads, "deterministic": False}
    rows = shards.interleave(batches, cycle_length=threads, **options)
    if not raw:
        rows = rows.map(lambda texts: tf.io.parse_example(texts, FEATURES), **options)
    for found in rows.prefetch(4):
        yield int(tf.shape(found if raw else found["label"])[0]), 0


common.main("tf.data " + tf.__version__, samples)
