internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceStorage

/// `headrace decode`
struct Decode: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Decodes one field of one sample as a loader would, into an .npy file.",
        discussion: """
            What is random is what a loader over this shard alone draws for the sample with that seed, in that epoch.

            Examples:
              headrace decode train-000000.tar --at 0 --field jpg --transform random-resized-crop:224,flip \\
                  --layout hwc --seed 1 --npy first.npy
              headrace decode train-000000.tar --key n01440764_10026 --field cls --as int --npy class.npy
            """)

    @OptionGroup var sample: OneSample
    @Option(help: "Name of the field.") var field: String
    @Option(
        name: .customLong("as"), help: "How, in the words of pipebench's --decode; without it, as an image.")
    var kind: String?
    @OptionGroup var imageFlags: ImageFlags
    @Option(help: "Seed of what is random.") var seed: UInt64 = 0
    @Option(help: "Epoch of what is random, from 0.") var epoch: UInt64 = 0
    @Option(help: "File to write.") var npy: String

    func run() throws {
        let request = try request()
        let (epoch, seed) = (epoch, seed)
        try sample.find(parsesExamples: field != "record") { (found, path) throws(HeadraceError) in
            let payload = try unsafe Cat.field(field, of: found, in: path)
            do throws(HeadraceError) {
                let decoded = try unsafe DecodedField(
                    payload, found.encoding(of: field), request, seed: seed, epoch: epoch,
                    ordinal: UInt64(found.index))
                try write(decoded)
            } catch {
                throw error.placed(shard: path, offset: found.offset, key: found.key, field: field)
            }
        }
    }

    private func request() throws(HeadraceError) -> FieldRequest {
        guard let kind else {
            return try FieldRequest.images(
                [field], transform: imageFlags.transform, dtype: imageFlags.dtype, layout: imageFlags.layout)[
                    0]
        }
        guard imageFlags.transform.isEmpty, imageFlags.dtype == nil, imageFlags.layout == nil else {
            throw HeadraceError(
                .usage, "--transform, --dtype and --layout are for images, which need no --as")
        }
        let requests = try FieldRequest.requests("\(field)=\(kind)")
        guard requests.count == 1, requests[0].name == field else {
            throw HeadraceError(.usage, "'\(kind)' names several parts of the field; one is written")
        }
        return requests[0]
    }

    private func write(_ decoded: DecodedField) throws(HeadraceError) {
        let file = try AtomicFile(npy, replacing: true)
        let bytes = try decoded.npyHeader() + decoded.bytes
        let written: Result<Void, HeadraceError> = unsafe bytes.withUnsafeBytes { bytes in
            do throws(HeadraceError) { return .success(try unsafe file.append(bytes)) } catch {
                return .failure(error)
            }
        }
        try written.get()
        try file.commit()
        StandardError.say("\(npy): \(decoded.elementType.rawValue) \(decoded.shape)")
    }
}
