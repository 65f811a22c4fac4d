import HeadraceCore
import HeadraceDecode
import HeadraceFormats

/// Numbers are written to memory of exactly as many bytes as were counted before.
func fuzzExample(_ input: UnsafeRawBufferPointer) {
    var parser = ExampleParser()
    let record = Array(input.dropFirst())
    record.withUnsafeBytes { buffer in
        guard parser.parse(buffer.bytes) == .example else { return }
        for feature in parser.features {
            require(feature.message.upperBound <= buffer.count, "a feature lies in its record")
            if feature.steps != nil {
                FeatureListMessage.forEachStep(buffer.bytes, feature.message) { copy($0, buffer) }
            } else if let message = FeatureMessage(buffer.bytes, feature.message) {
                require(message.count == feature.count && message.kind == feature.kind, "read alike")
                copy(message, buffer)
            }
        }
    }
}

private func copy(_ message: FeatureMessage, _ record: UnsafeRawBufferPointer) {
    switch message.kind {
    case nil: require(message.count == 0, "no kind, no values")
    case .bytes:
        var count = 0
        message.forEachString(record.bytes) { value in
            require(value.upperBound <= record.count, "a value lies in its record")
            count += 1
        }
        require(count == message.count, "as many values as were counted")
    case .int64, .float:
        let width = message.kind == .int64 ? 8 : 4
        require(message.count <= record.count, "a value takes a byte at least")
        // One more word, which must stay as it is.
        var numbers = [UInt8](repeating: 0xA5, count: message.count * width + 8)
        numbers.withUnsafeMutableBytes { message.copyNumbers(record.bytes, to: $0.baseAddress!) }
        require(numbers.suffix(8).allSatisfy { $0 == 0xA5 }, "no more values than were counted")
    }
}

/// An array that is understood is decoded, into exactly its bytes.
func fuzzNpy(_ input: UnsafeRawBufferPointer) {
    let file = Array(input.dropFirst())
    file.withUnsafeBytes { payload in
        let decoder = NpyDecoder()
        guard let layout = try? decoder.column(for: payload) else { return }
        require(layout.rowBytes <= payload.count, "an array lies in its file")
        var row = [UInt8](repeating: 0, count: max(1, layout.rowBytes))
        row.withUnsafeMutableBytes { rows in
            withUnsafePointer(to: payload) { pointer in
                var run = DecodeRun(
                    payloads: UnsafeBufferPointer(start: pointer, count: 1), rows: rows.baseAddress,
                    layout: layout)
                decoder.decode(&run)
                require(run.failures.isEmpty, "what a column was made for is decoded")
            }
        }
    }
}

/// A text that becomes a value is valid; the reader of values is the stricter one.
func fuzzJSONText(_ input: UnsafeRawBufferPointer) {
    let text = Array(input.dropFirst())
    text.withUnsafeBytes { buffer in
        let isValid = (try? JSONScanner.validate(buffer)) != nil
        let value = try? JSONValue(parsing: text)
        require(value == nil || isValid, "what has a value is valid")
    }
}

/// Members lie in the archive, and what inflates has the length and checksum that the directory says.
func fuzzZip(_ input: UnsafeRawBufferPointer) {
    let archive = Array(input.dropFirst())
    archive.withUnsafeBytes { buffer in
        guard let directory = try? ZipDirectory(buffer), let inflater = try? ZipInflater() else { return }
        var room = [UInt8](repeating: 0, count: 4096)
        try? directory.forEachMember { member in
            require(member.data.upperBound <= buffer.count, "a member lies in its archive")
            inflater.begin(member, of: buffer)
            var total = 0
            while let count = try? room.withUnsafeMutableBytes({ try inflater.read(into: $0) }), count > 0 {
                total += count
            }
            if (try? inflater.finish()) != nil {
                require(total == member.byteCount, "a good member has its length")
            }
            return true
        }
    }
}

/// A picture fills its row and not a byte more, whatever is cut out of it, or it is refused in words.
func fuzzImage(_ input: UnsafeRawBufferPointer) {
    let flags = input[0]
    let file = Array(input.dropFirst())
    let geometry: [ImageTransform] =
        switch flags & 3 {
        case 0: [.randomResizedCrop(9, 14)]
        case 1: [.centerCrop(8, 5, shorterSide: 11)]
        case 2: [.resize(3, 40)]
        default: [.resize(16), .noAntialias]
        }
    let rules: [ImageTransform] =
        (flags & 4 == 0 ? [] : [.flip, .colorJitter(brightness: 0.5, contrast: 0.5, saturation: 0.5)])
        + (flags & 8 == 0 ? [] : [.allowTruncated]) + (flags & 16 == 0 ? [] : [.gray])
        + (flags & 32 == 0 ? [] : [.alpha(.white)])
    let elementType = ImageLimits.elementTypes[Int(flags >> 6)]
    let layout: ImageLayout = flags & 1 == 0 ? .chw : .hwc
    guard let decoder = try? ImageDecoder(geometry + rules, as: elementType, layout: layout) else {
        return require(false, "the transforms agree")
    }
    // Large pictures would only take the fuzzer's time.
    let small = decoder.limited(toPixels: 100_000)
    file.withUnsafeBytes { payload in
        guard let column = try? small.column(for: payload) else { return }
        let bytes = column.rowBytes
        var row = [UInt8](repeating: 0xA5, count: bytes + 64)
        row.withUnsafeMutableBytes { rows in
            withUnsafePointer(to: payload) { pointer in
                var run = DecodeRun(
                    payloads: UnsafeBufferPointer(start: pointer, count: 1), rows: rows.baseAddress,
                    layout: column)
                small.decode(&run)
                require(run.failures.allSatisfy { !$0.error.message.isEmpty }, "a refusal says why")
            }
        }
        require(row.suffix(64).allSatisfy { $0 == 0xA5 }, "no more than the row")
    }
}
