package import ArgumentParser

/// How fields that are images become tensors.
package struct ImageFlags: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            Steps of the images, parted by commas: random-resized-crop:SIZE[:SCALE/SCALE[:RATIO/RATIO]], \
            center-crop:SIZE[:SHORTER], resize:SIZE (SIZE is N or HEIGHTxWIDTH), flip[:SHARE], \
            color-jitter:BRIGHTNESS:CONTRAST:SATURATION, normalize:imagenet, normalize:MEAN/...:DEVIATION/..., \
            gray, no-antialias, as-stored, on-white, on-black, allow-truncated.
            """, valueName: "STEP,..."))
    package var transform = ""

    @Option(
        help: ArgumentHelp(
            "Elements of the images (default: float32 where they are normalised, else uint8).",
            valueName: "uint8|float32|float16|bfloat16"))
    package var dtype: String?

    @Option(help: ArgumentHelp("Channels of the images first (default), or last.", valueName: "chw|hwc"))
    package var layout: String?

    package init() {}
}
