"""tf.data: TFRecordDataset, batched, with tf.io.parse_example unless --raw."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import common
import tensorflow as tf

FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}


def samples(files, threads, batch, raw):
    records = tf.data.TFRecordDataset(files, num_parallel_reads=threads, buffer_size=8 << 20).batch(batch)
    if not raw:
        records = records.map(lambda texts: tf.io.parse_example(texts, FEATURES), num_parallel_calls=threads)
    for rows in records.prefetch(4):
        yield int(tf.shape(rows if raw else rows["label"])[0]), 0


common.main("tf.data " + tf.__version__, samples)
