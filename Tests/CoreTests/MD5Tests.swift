import Foundation
import HeadraceCore
import Testing

@Suite struct MD5Tests {
    private static func md5(_ bytes: [UInt8], pieces: Int = .max) -> String {
        var hash = MD5()
        var rest = bytes[...]
        while !rest.isEmpty {
            rest.prefix(pieces).withUnsafeBytes { hash.update($0) }
            rest = rest.dropFirst(pieces)
        }
        return hash.hexadecimal()
    }

    // RFC 1321, A.5.
    @Test(arguments: [
        ("", "d41d8cd98f00b204e9800998ecf8427e"), ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"), ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "d174ab98d277d9f5a5611c2c9f419d9f"
        ),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a"
        ),
    ])
    func publishedVectors(vector: (String, String)) {
        #expect(Self.md5(Array(vector.0.utf8)) == vector.1)
        #expect(Self.md5(Array(vector.0.utf8), pieces: 7) == vector.1)
    }

    @Test func everyLengthInEveryPieceIsTheSame() {
        let bytes = randomBytes(300, seed: 5)
        for count in 0...300 {
            let whole = Self.md5(Array(bytes[..<count]))
            for pieces in [1, 63, 64, 65] {
                #expect(Self.md5(Array(bytes[..<count]), pieces: pieces) == whole)
            }
        }
    }
}
