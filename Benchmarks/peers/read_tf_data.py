"""tf.data: a TFRecordDataset a file, batched there, as many files at once as threads, with tf.io.parse_example unless
--raw.

Of the ways there are this was the fastest: `TFRecordDataset(files, num_parallel_reads=...)` hands single records from
thread to thread, which made it 3.5 times as slow for tiny ones, and one file after the other was slower for large ones.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import common
import tensorflow as tf

FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}


def samples(files, threads, batch, raw):
    def batches(file):
        records = tf.data.TFRecordDataset(file, buffer_size=8 << 20).batch(batch)
        return records if raw else records.map(lambda texts: tf.io.parse_example(texts, FEATURES))

    shards = tf.data.Dataset.from_tensor_slices(files)
    options = {"cycle_length": threads, "num_parallel_calls": threads, "deterministic": False}
    for rows in shards.interleave(batches, **options).prefetch(4):
        yield int(tf.shape(rows if raw else rows["label"])[0]), 0


common.main("tf.data " + tf.__version__, samples)
