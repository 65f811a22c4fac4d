import HeadraceCore
import Testing

@Suite struct ByteCountTests {
    @Test(arguments: [
        ("0", 0), ("4096", 4096), ("1B", 1), ("1kB", 1000), ("2MB", 2_000_000), ("1.5GB", 1_500_000_000),
        ("3TB", 3_000_000_000_000), ("1KiB", 1024), ("64MiB", 64 << 20), ("1GiB", 1 << 30), ("2TiB", 2 << 40),
        ("1K", 1024), ("64M", 64 << 20), ("1.5G", 3 << 29), ("1T", 1 << 40), ("0.5K", 512), ("007", 7),
        ("9223372036854775807", Int.max), ("8388607T", 8_388_607 << 40),
    ]) func accepted(text: String, bytes: Int) throws {
        #expect(try ByteCount(parsing: text).bytes == bytes)
    }

    @Test(arguments: [
        "", "-1", "+1", "1 MB", " 1", "1 ", "MB", "1mb", "1kb", "1KB", "1k", "1.", ".5", "1..5", "1.5",
        "0.3K", "1e6",
        "0x10", "9223372036854775808", "8388608T", "99999999999999999999", "1.2.3M", "1Mi", "١MB", "∞",
        "1MB\n",
        "0.0000000000000000001TB",
    ]) func refused(text: String) {
        let error = #expect(throws: HeadraceError.self) { try ByteCount(parsing: text) }
        #expect(error?.code == .usage)
        #expect(error?.message.contains(ByteCount.acceptedForms) == true)
    }

    @Test(arguments: [
        (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1536, "1.53 kB"), (1_500_000_000, "1.5 GB"),
        (1_999_999, "1.99 MB"),
        (1_070_000_000_000, "1.07 TB"), (Int.max, "9223372.03 TB"),
    ]) func description(bytes: Int, text: String) { #expect(ByteCount(bytes).description == text) }

    @Test func units() {
        #expect(ByteCount.gigabytes(2).bytes == 2_000_000_000)
        #expect(ByteCount.gibibytes(2).bytes == 2 << 30)
        #expect(ByteCount.kilobytes(1) < .kibibytes(1))
        #expect(ByteCount.megabytes(3).bytes == 3_000_000)
        #expect(ByteCount.mebibytes(3).bytes == 3 << 20)
        #expect(ByteCount.bytes(7).bytes == 7)
    }
}

@Suite struct TimeSpanTests {
    @Test(arguments: [
        ("120ms", 120_000_000), ("1s", 1_000_000_000), ("2m", 120_000_000_000), ("1.5s", 1_500_000_000),
        ("10us", 10_000), ("7ns", 7), ("1h", 3_600_000_000_000), ("0s", 0), ("0.5ns", 0),
    ]) func accepted(text: String, nanoseconds: Int) throws {
        #expect(try TimeSpan(parsing: text).nanoseconds == nanoseconds)
    }

    @Test(arguments: [
        "", "60", "1.5", "ms", "-1s", "1 s", "1S", "1min", "1sec", "1e3s", "99999999999h", "1.s", "nan",
    ])
    func refused(text: String) {
        let error = #expect(throws: HeadraceError.self) { try TimeSpan(parsing: text) }
        #expect(error?.code == .usage)
        #expect(error?.message.contains(TimeSpan.acceptedForms) == true)
    }

    @Test(arguments: [
        (0, "0 ns"), (999, "999 ns"), (1500, "1.5 us"), (120_000_000, "120 ms"), (90_000_000_000, "90 s"),
        (1_234_567_890, "1.23 s"),
    ]) func description(nanoseconds: Int, text: String) {
        #expect(TimeSpan(nanoseconds: nanoseconds).description == text)
    }
}
