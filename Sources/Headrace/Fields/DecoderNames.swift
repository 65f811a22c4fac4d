public import HeadraceCore
public import HeadraceDecode

// What stands behind `with:` in ``Dataset/decoding(_:with:optional:as:)``.

extension Decoder where Self == IntegerDecoder {
    /// ASCII decimal numbers as `int64`.
    public static var integer: IntegerDecoder { IntegerDecoder() }
}
extension Decoder where Self == TextDecoder {
    /// UTF-8 text.
    public static var text: TextDecoder { TextDecoder() }
}
extension Decoder where Self == RawDecoder {
    /// The bytes as they are, in place.
    public static var raw: RawDecoder { RawDecoder() }
}
extension Decoder where Self == NpyDecoder {
    /// NumPy arrays, all of one shape and element type.
    public static var npy: NpyDecoder { NpyDecoder() }
}

extension Decoder where Self == NpzDecoder {
    /// The only array of .npz files, all of one shape and element type.
    public static var npz: NpzDecoder { NpzDecoder() }
    /// The array of that name of .npz files: column `FIELD/NAME`.
    public static func npz(_ array: String) -> NpzDecoder { NpzDecoder(array: array) }
}
extension Decoder where Self == TokenDecoder {
    /// Little-endian token numbers: `count` of them in every row, or lists of any length.
    public static func tokens(_ width: TokenWidth, count: Int? = nil) -> TokenDecoder {
        TokenDecoder(width, count: count)
    }
}
extension Decoder where Self == JSONTextDecoder {
    /// JSON texts, checked, in place; ``Tensor/json(ofRow:)`` reads one.
    public static var json: JSONTextDecoder { JSONTextDecoder() }
}
extension Decoder where Self == JSONValueDecoder {
    /// One number or truth value of a JSON text: `.json("meta/width", as: .int64)`.
    public static func json(_ path: String, as elementType: ElementType = .int64) -> JSONValueDecoder {
        JSONValueDecoder(path, as: elementType)
    }
}
extension Decoder where Self == ImageDecoder {
    /// JPEG and PNG images, through these steps: `.image(.randomResizedCrop(224), .flip, .normalize(.imageNet))`.
    ///
    /// Throws `usage` where the steps contradict each other; see ``ImageDecoder``.
    public static func image(
        _ transforms: ImageTransform..., as elementType: ElementType? = nil, layout: ImageLayout = .chw
    ) throws(HeadraceError) -> ImageDecoder {
        try ImageDecoder(transforms, as: elementType, layout: layout)
    }
}
extension Decoder where Self == FeatureDecoder {
    /// The single int64 of a tf.Example's feature.
    public static var int64: FeatureDecoder { FeatureDecoder(int64: []) }
    /// The single float of a tf.Example's feature.
    public static var float: FeatureDecoder { FeatureDecoder(float: []) }

    /// The int64 list of a tf.Example's feature as a tensor of that shape.
    ///
    /// - Parameter default: what a sample without the feature gets: one number for every element, or all of them.
    ///   Empty: its lack is a defect.
    public static func int64(shape: [Int] = [], default elements: [Int64] = []) -> FeatureDecoder {
        FeatureDecoder(int64: shape, default: elements)
    }

    /// The float list of a tf.Example's feature as a tensor of that shape.
    ///
    /// - Parameter default: what a sample without the feature gets: one number for every element, or all of them.
    ///   Empty: its lack is a defect.
    public static func float(shape: [Int] = [], default elements: [Float] = []) -> FeatureDecoder {
        FeatureDecoder(float: shape, default: elements)
    }
}
extension Decoder where Self == FeatureListDecoder {
    /// The int64 list of a tf.Example's feature, of any length; a feature list with one number a step.
    public static var int64List: FeatureListDecoder { FeatureListDecoder(.int64) }
    /// The float list of a tf.Example's feature, of any length; a feature list with one number a step.
    public static var floatList: FeatureListDecoder { FeatureListDecoder(.float) }

    /// Int64 lists of any number of steps of that shape.
    public static func int64List(of step: [Int]) -> FeatureListDecoder {
        FeatureListDecoder(.int64, stepShape: step)
    }

    /// Float lists of any number of steps of that shape.
    public static func floatList(of step: [Int]) -> FeatureListDecoder {
        FeatureListDecoder(.float, stepShape: step)
    }
}
extension Decoder where Self == FeatureStringsDecoder {
    /// The byte strings of a tf.Example's feature, any number of them.
    public static var bytesList: FeatureStringsDecoder { FeatureStringsDecoder() }
}
extension Decoder {
    /// The same rows, all filled up to `length` with `fill`; a longer row is a defect.
    public func padded(to length: Int, with fill: Double = 0) -> PaddedDecoder {
        PaddedDecoder(self, to: length, with: fill)
    }

    /// How long each row is: column `FIELD/length`.
    public var lengths: RowLengthDecoder { RowLengthDecoder(self) }
}
