import HeadraceCore
import Testing

// Sendable: `lock` guards `value`.
private final class Shared: @unchecked Sendable {
    let lock = Lock()
    let changed: Condition
    var value = 0

    init() { changed = Condition(lock) }
}

@Suite struct LockTests {
    @Test func countsExactly() throws {
        let shared = Shared()
        let threads = try (0..<4).map { _ in
            try Thread(name: "count") {
                for _ in 0..<20_000 { shared.lock.withLock { shared.value += 1 } }
            }
        }
        for thread in threads { thread.join() }
        #expect(shared.value == 80_000)
    }

    @Test func withLockUnlocksWhenItsBodyThrows() {
        let lock = Lock()
        #expect(throws: HeadraceError.self) {
            try lock.withLock { () throws(HeadraceError) in throw HeadraceError(.usage, "thrown") }
        }
        #expect(lock.withLock { true })
    }

    @Test func conditionHandsOver() throws {
        let shared = Shared()
        let rounds = 500
        let thread = try Thread(name: "odd") {
            shared.lock.lock()
            for round in 0..<rounds {
                while shared.value != 2 * round + 1 { shared.changed.wait() }
                shared.value += 1
                shared.changed.signal()
            }
            shared.lock.unlock()
        }
        shared.lock.lock()
        for round in 0..<rounds {
            while shared.value != 2 * round { shared.changed.wait() }
            shared.value += 1
            shared.changed.signal()
        }
        shared.lock.unlock()
        thread.join()
        #expect(shared.value == 2 * rounds)
    }

    @Test func broadcastWakesAll() throws {
        let shared = Shared()
        let threads = try (0..<3).map { _ in
            try Thread(name: "waiter") {
                shared.lock.lock()
                while shared.value == 0 { shared.changed.wait() }
                shared.lock.unlock()
            }
        }
        shared.lock.withLock {
            shared.value = 1
            shared.changed.broadcast()
        }
        for thread in threads { thread.join() }
    }

    @Test func waitingEndsWithItsTime() {
        let shared = Shared()
        let start = Clock.now()
        shared.lock.lock()
        // Woken early for no reason is allowed, without end is not.
        while shared.changed.wait(nanoseconds: 20_000_000) {}
        shared.lock.unlock()
        #expect(Clock.now() - start >= 20_000_000)
    }

    @Test func threadsJoinAndErrnoHasItsName() throws {
        let shared = Shared()
        let thread = try Thread(name: "a name longer than fifteen bytes") {
            shared.lock.withLock { shared.value = 9 }
        }
        thread.join()
        thread.join()
        #expect(shared.value == 9)
        #expect(errorDescription(2) == "No such file or directory (ENOENT)")
        #expect(errorDescription(99999).contains("(errno 99999)"))
    }
}

@Suite struct SampleTableTests {
    @Test func defectsKeepTheirPlace() {
        var table = SampleTable()
        table.keys = Array("first".utf8)
        table.samples = [SampleRecord(offset: 0, keyOffset: 0, keyLength: 5, firstField: 0, fieldCount: 0)]
        table.appendDefect(HeadraceError(.truncated, "cut"), offset: 512, key: Array("second".utf8))
        table.appendDefect(HeadraceError(.badHeader, "bad", at: .init(offset: 7)), offset: 1024)
        #expect(table.samples.map(\.defect) == [-1, 0, 1])
        #expect(table.samples.map { table.key(of: $0) } == ["first", "second", ""])
        #expect(table.defects.map(\.place.offset) == [512, 7])
        #expect(table.defects.map(\.place.key) == ["second", nil])
        #expect(table.byteCount >= 11)
        table.removeAll()
        #expect(table.samples.isEmpty && table.keys.isEmpty && table.defects.isEmpty && table.fields.isEmpty)
    }

    @Test func namesAreNumberedOnceAndBounded() {
        let names = FieldNames()
        #expect(names.number(of: Array("jpg".utf8)) == 0)
        #expect(names.number(of: Array("cls".utf8)) == 1)
        #expect(names.number(of: Array("jpg".utf8)) == 0)
        #expect(names.name(of: 1) == "cls")
        #expect(names.known("cls") == 1)
        #expect(names.known("png") == nil)
        for index in 2..<FieldNames.limit {
            #expect(names.number(of: Array("f\(index)".utf8)) == Int32(index))
        }
        #expect(names.number(of: Array("one more".utf8)) == nil)
        #expect(names.number(of: Array("jpg".utf8)) == 0)
        #expect(names.all.count == FieldNames.limit)
    }

    @Test func accountsAddUp() {
        var total = ShardAccount()
        var account = ShardAccount()
        account.samples = 2
        account.ignore("hiddenMembers", bytes: 1024)
        account.ignore("hiddenMembers", bytes: 512)
        account.bytesParsed = 10
        account.bytesLost = 3
        total.add(account)
        total.add(account)
        #expect(
            total.samples == 4 && total.bytesIgnored == 3072 && total.bytesParsed == 20
                && total.bytesLost == 6)
        #expect(total.ignored == ["hiddenMembers": 4])
    }
}

@Suite struct ProcessTests {
    @Test func argumentsAreThoseOfTheProcess() {
        #expect(processArguments() == CommandLine.arguments)
        #expect(!processArguments().isEmpty)
    }
}
