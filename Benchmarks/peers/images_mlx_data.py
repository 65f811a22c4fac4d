"""mlx-data: its tar reader, image_random_area_crop, image_resize (not antialiased), random_h_flip, in prefetching
threads; normalising is NumPy's, on the batch."""

import importlib.metadata

import image_options
import mlx.data as dx
import numpy as np


def samples(files, threads, batch, dtype, layout):
    mean, deviation = [255 * np.array(values, np.float32) for values in (image_options.MEAN, image_options.DEVIATION)]
    side = image_options.SIDE
    for file in files:
        names = [bytes(entry["file"]) for entry in dx.files_from_tar(file)]
        wanted = dx.buffer_from_vector([{"file": name} for name in names if name.endswith(b".jpg")])
        stream = (
            wanted.shuffle()
            .to_stream()
            .read_from_tar(file, "file", "image")
            .load_image("image", from_memory=True)
            .image_random_area_crop("image", (0.08, 1.0), (3 / 4, 4 / 3))
            .image_resize("image", side, side)
            .image_random_h_flip("image", 0.5)
        )
        if dtype == "float32":
            stream = stream.key_transform("image", lambda image: ((image - mean) / deviation).transpose(2, 0, 1).copy())
        for found in stream.batch(batch).prefetch(4, threads):
            yield len(found["image"]), 0


image_options.main("mlx-data " + importlib.metadata.version("mlx-data"), samples)
