"""DALI's CPU back end: webdataset reader, fused random-crop decoder, resize (antialiased), mirror and normalise."""

import image_options
import nvidia.dali
from nvidia.dali import fn, types

built = {}


@nvidia.dali.pipeline_def(device_id=None, prefetch_queue_depth=2)
def pipeline(files, dtype):
    images, classes = fn.readers.webdataset(
        name="reader", paths=files, ext=["jpg", "cls"], random_shuffle=True, initial_fill=1000
    )
    images = fn.decoders.image_random_crop(
        images, device="cpu", random_aspect_ratio=[3 / 4, 4 / 3], random_area=[0.08, 1.0], num_attempts=10
    )
    images = fn.resize(images, size=[image_options.SIDE] * 2, interp_type=types.INTERP_LINEAR, antialias=True)
    mirror = fn.random.coin_flip(probability=0.5)
    if dtype == "uint8":
        return fn.flip(images, horizontal=mirror), classes
    options = {
        "mean": [255 * value for value in image_options.MEAN],
        "std": [255 * value for value in image_options.DEVIATION],
    }
    images = fn.crop_mirror_normalize(images, dtype=types.FLOAT, output_layout="CHW", mirror=mirror, **options)
    return images, classes


def samples(files, threads, batch, dtype, layout):
    if dtype not in built:
        built[dtype] = pipeline(files, dtype, batch_size=batch, num_threads=threads)
        built[dtype].build()
    left = built[dtype].reader_meta("reader")["epoch_size"]
    while left > 0:
        images, _ = built[dtype].run()
        count = min(left, len(images))
        left -= count
        yield count, 0


image_options.main("dali " + nvidia.dali.__version__, samples)
