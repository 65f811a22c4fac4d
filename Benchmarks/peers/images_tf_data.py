"""tf.data: TFRecords of tf.Examples, decode_and_crop_jpeg of a distorted box, resize (not antialiased), flip, normalise.

Every step is called a sample at a time, as tf.data wants it; parsing and decoding are one parallel map.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import image_options
import tensorflow as tf

FEATURES = {"jpg": tf.io.FixedLenFeature([], tf.string), "cls": tf.io.FixedLenFeature([], tf.string)}


def samples(files, threads, batch, dtype, layout):
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    mean, deviation = [255.0 * tf.constant(values) for values in (image_options.MEAN, image_options.DEVIATION)]

    def decode(record):
        example = tf.io.parse_single_example(record, FEATURES)
        shape = tf.io.extract_jpeg_shape(example["jpg"])
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            shape,
            tf.zeros([1, 0, 4]),
            use_image_if_no_bounding_boxes=True,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1),
            max_attempts=10,
        )
        window = tf.stack([begin[0], begin[1], size[0], size[1]])
        image = tf.image.decode_and_crop_jpeg(example["jpg"], window, channels=3, dct_method="INTEGER_ACCURATE")
        image = tf.image.random_flip_left_right(tf.image.resize(image, [image_options.SIDE] * 2))
        if dtype == "uint8":
            image = tf.cast(tf.round(image), tf.uint8)
        else:
            image = (image - mean) / deviation
        return tf.transpose(image, [2, 0, 1]) if layout == "chw" else image, example["cls"]

    shards = tf.data.Dataset.from_tensor_slices(files)
    rows = shards.interleave(tf.data.TFRecordDataset, cycle_length=len(files), num_parallel_calls=1)
    rows = rows.shuffle(1000).map(decode, num_parallel_calls=threads, deterministic=False).batch(batch).prefetch(2)
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    for images, _ in rows.with_options(options):
        yield len(images), 0


image_options.main("tf.data " + tf.__version__, samples)
