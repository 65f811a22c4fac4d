import Headrace
import Testing

/// The sentence that a run is judged by, from reports made up to be one clear case each.
struct VerdictTests {
    /// Ten seconds with two workers, who spent the given seconds.
    private func report(
        busy: [Room: Double] = [:], waitInput: [Room: Double] = [:], waitRoom: [Room: Double] = [:],
        waitShare: Double = 0.9, cpu: Double? = nil, change: (inout LoaderReport) -> Void = { _ in }
    ) -> LoaderReport {
        var report = LoaderReport()
        report.workers = 2
        report.wallSeconds = 10
        report.openSeconds = 0.1
        report.firstBatchSeconds = 0.15
        report.waitShare = waitShare
        report.readBytes = 1_000_000_000
        report.deviceBytes = 0
        report.cpuSeconds = cpu ?? busy.values.reduce(0, +)
        report.rooms = Room.allCases.map { room in
            var times = RoomTimes()
            times.busyNanoseconds = Int(1e9 * (busy[room] ?? 0))
            times.waitInputNanoseconds = Int(1e9 * (waitInput[room] ?? 0))
            times.waitRoomNanoseconds = Int(1e9 * (waitRoom[room] ?? 0))
            return (room, times)
        }
        change(&report)
        return report
    }

    @Test func shortRunsAreNotJudged() {
        let short = report(busy: [.decode: 3]) { $0.wallSeconds = 1.9 }
        #expect(Verdict(short, hasConsumer: true).limit == .unknown)
        #expect(Verdict(short, hasConsumer: false).description.hasPrefix("too short to judge: 1.9 s"))
    }

    @Test func aConsumerThatIsServedIsTheLimit() {
        let served = report(busy: [.decode: 2], waitRoom: [.assemble: 17], waitShare: 0.03)
        let verdict = Verdict(served, hasConsumer: true)
        #expect(verdict.limit == .consumer)
        #expect(
            verdict.description == "compute-bound: the consumer waited 3 % of the time, the loader keeps up")
        // Without work of its own a consumer that does not wait says nothing.
        #expect(Verdict(served, hasConsumer: false).limit != .consumer)
    }

    @Test func waitingForTheFirstBatchIsToldApart() {
        let slowStart = report(busy: [.decode: 2], waitShare: 0.32) { $0.firstBatchSeconds = 3.1 }
        let verdict = Verdict(slowStart, hasConsumer: true)
        #expect(verdict.limit == .consumer)
        #expect(verdict.description.contains("32 % of the time (30 % of it for the first batch)"))
        let slowThroughout = report(busy: [.decode: 19], waitShare: 0.32) { $0.firstBatchSeconds = 1.1 }
        #expect(Verdict(slowThroughout, hasConsumer: true).limit == .decode)
        #expect(Verdict(slowThroughout, hasConsumer: true).description.hasPrefix("input-bound: "))
    }

    @Test func theRoomThatTakesTheTimeIsNamed() {
        let unpacking = Verdict(report(busy: [.unpack: 16, .decode: 3]), hasConsumer: false)
        #expect(unpacking.limit == .unpack && unpacking.description.contains("80 % of the workers' time"))
        let decoding = Verdict(report(busy: [.unpack: 3, .decode: 16]), hasConsumer: false)
        #expect(decoding.limit == .decode && decoding.description.contains("80 %"))
        let even = Verdict(report(busy: [.unpack: 9, .decode: 8, .fetch: 2]), hasConsumer: false)
        #expect(even.limit == .balanced)
        #expect(even.description.contains("10 % reading, 45 % unpacking, 40 % decoding"))
    }

    @Test func waitingForBytesIsToldFromCopyingThem() {
        let cold = report(busy: [.fetch: 2], waitInput: [.fetch: 14]) { $0.deviceBytes = 990_000_000 }
        let waiting = Verdict(cold, hasConsumer: false)
        #expect(waiting.limit == .storage && waiting.description.contains("from the device, at 100 MB/s"))
        let copying = Verdict(report(busy: [.fetch: 16]), hasConsumer: false)
        #expect(copying.limit == .storage && copying.description.contains("from the page cache"))
        let untold = report(busy: [.fetch: 16]) { $0.deviceBytes = nil }
        #expect(Verdict(untold, hasConsumer: false).description.hasPrefix("bound by reading: 80 %"))
    }

    /// A thread of its own waits in its own time; what counts is how long the workers had nothing because of it.
    @Test func aFetchThreadIsNoWorker() {
        let busyRing = report(busy: [.unpack: 17], waitInput: [.fetch: 9]) { $0.hasFetchThread = true }
        #expect(Verdict(busyRing, hasConsumer: false).limit == .unpack)
        let slowDevice = report(busy: [.unpack: 3], waitInput: [.fetch: 9, .unpack: 16]) {
            $0.hasFetchThread = true
            $0.deviceBytes = $0.readBytes
        }
        let verdict = Verdict(slowDevice, hasConsumer: false)
        #expect(verdict.limit == .storage && verdict.description.contains("waited 80 %"))
    }

    @Test func idleWorkersAndMissingMemoryAreSeen() {
        let oneStream = Verdict(
            report(busy: [.unpack: 9.5], waitInput: [.decode: 10]), hasConsumer: false)
        #expect(oneStream.limit == .serialUnpack && oneStream.description.contains("50 % had nothing to do"))
        let tight = Verdict(report(busy: [.unpack: 4], waitRoom: [.admit: 14]), hasConsumer: false)
        #expect(tight.limit == .memory && tight.description.contains("memory budget"))
    }

    @Test func aSharedMachineIsMentioned() {
        let starved = Verdict(report(busy: [.decode: 18], cpu: 6), hasConsumer: false)
        #expect(starved.limit == .decode && starved.description.contains("ran only 33 % of the time"))
        let alone = Verdict(report(busy: [.decode: 18], cpu: 17), hasConsumer: false)
        #expect(!alone.description.contains("ran only"))
    }
}
