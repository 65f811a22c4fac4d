import Foundation
import HeadraceCore
import HeadraceStorage
import Testing

@Suite struct EngineTests {
    @Test func preadNeedsNoRing() throws {
        #expect(try EngineChoice.choose(.pread, direct: .off).way == .blocking)
        #expect(try EngineChoice.choose(.pread, direct: .required).way == .pooled)
        #expect(try EngineChoice.choose(.auto, direct: .off).way == .blocking)
    }

    @Test func directReadsTakeTheRingWhereThereIsOne() throws {
        let choice = try EngineChoice.choose(.auto, direct: .required)
        if let refusal = RingProbe.refusal() {
            #expect(choice.way == .pooled)
            #expect(choice.reason.contains(refusal))
            let error = #expect(throws: HeadraceError.self) {
                try EngineChoice.choose(.uring, direct: .off)
            }
            #expect(error?.code == .ringRefused)
            #expect(error?.message.contains(refusal) == true)
            #expect(throws: HeadraceError.self) { try RingReader(queueDepth: 4) }
            #expect(throws: HeadraceError.self) { try LocalStorage(direct: .off, engine: .uring) }
        } else {
            #expect(choice.way == .ring)
            #expect(try EngineChoice.choose(.uring, direct: .off).way == .ring)
        }
    }

    @Test func storagesMakeTheReaderTheyChose() throws {
        #expect(try LocalStorage().makeReader(queueDepth: 3) is BlockingReader)
        let pooled = try LocalStorage(direct: .required, engine: .pread).makeReader(queueDepth: 3)
        #expect(pooled is PooledReader)
        #expect(pooled.queueDepth == 3)
        pooled.close()
        if RingProbe.refusal() == nil {
            let ring = try LocalStorage(direct: .required).makeReader(queueDepth: 3)
            #expect(ring is RingReader)
            #expect(ring.queueDepth == 3)
            ring.close()
        } else {
            print("SKIPPED: a storage over io_uring: \(RingProbe.refusal() ?? "")")
        }
        let scratch = Scratch()
        let path = scratch.file("a", [1, 2, 3])
        #expect(try LocalStorage().open(path).size == 3)
        let error = #expect(throws: HeadraceError.self) { try LocalStorage().open(path + "x") }
        #expect(error?.code == .notFound)
    }

    @Test func everyRefusalSaysWhatWouldAllowIt() {
        func words(_ number: Int32, _ setting: String?) -> String {
            RingProbe.explanation(number, disabledSetting: setting)
        }
        #expect(words(EPERM, "2\n").contains("sysctl -w kernel.io_uring_disabled=0"))
        #expect(words(EPERM, "1\n").contains("kernel.io_uring_disabled=1"))
        #expect(words(EPERM, "0\n").contains("seccomp"))
        #expect(words(EPERM, nil).contains("docker run"))
        #expect(words(ENOSYS, nil).contains("gVisor"))
        #expect(words(ENOMEM, nil).contains("ulimit -l"))
        #expect(words(EMFILE, nil).contains("ulimit -n"))
        #expect(words(EIO, nil).contains("EIO"))
        for number in [EPERM, ENOSYS, ENOMEM, EMFILE, EIO] {
            #expect(!words(number, "0\n").contains("\n"))
        }
    }

    @Test func theEnvironmentCanRefuse() async {
        await #expect(processExitsWith: .success) {
            setenv("HEADRACE_IO_URING", "off", 1)
            let choice = try EngineChoice.choose(.auto, direct: .required)
            #expect(choice.way == .pooled)
            #expect(choice.reason.contains("HEADRACE_IO_URING"))
            #expect(throws: HeadraceError.self) { try RingReader(queueDepth: 1) }
        }
    }

    /// A real seccomp filter, as a container has one.
    @Test(arguments: [EPERM, ENOSYS]) func aBlockedSystemCallIsExplained(_ number: Int32) async {
        await #expect(processExitsWith: .success) { [number] in
            unsetenv("HEADRACE_IO_URING")
            guard installFilter(refusingRingsWith: number) else {
                print("SKIPPED: seccomp filters cannot be installed here")
                return
            }
            let choice = try EngineChoice.choose(.auto, direct: .required)
            #expect(choice.way == .pooled)
            #expect(choice.reason.contains(number == EPERM ? "EPERM" : "ENOSYS"))
            let storage = try LocalStorage(direct: .off, engine: .auto)
            #expect(try storage.makeReader(queueDepth: 2) is BlockingReader)
            let error = #expect(throws: HeadraceError.self) { try LocalStorage(engine: .uring) }
            #expect(error?.code == .ringRefused)
            #expect(error?.code.category.exitStatus == 2)
        }
    }

    /// The probe's ring is granted, the reader's is not.
    @Test func autoFallsBackWhenTheReadersRingIsRefused() async {
        await #expect(processExitsWith: .success) {
            let storage = try LocalStorage(direct: .required, engine: .auto)
            guard storage.choice.way == .ring else {
                print("SKIPPED: \(storage.choice.reason)")
                return
            }
            guard installFilter(refusingRingsWith: EPERM) else {
                print("SKIPPED: seccomp filters cannot be installed here")
                return
            }
            let reader = try storage.makeReader(queueDepth: 2)
            #expect(reader is PooledReader)
            reader.close()
        }
    }
}

/// Makes io_uring_setup fail in this process from now on.
private func installFilter(refusingRingsWith number: Int32) -> Bool {
    // prctl is variadic, which Swift cannot call; its machine convention is this one.
    typealias Prctl = @convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32
    guard let symbol = dlsym(nil, "prctl") else { return false }
    let prctl = unsafeBitCast(symbol, to: Prctl.self)
    struct Instruction {
        var code: UInt16
        var ifTrue: UInt8 = 0
        var ifFalse: UInt8 = 0
        var operand: UInt32
    }
    struct Program {
        var count: UInt16
        var instructions: UnsafePointer<Instruction>
    }
    let loadNumber = Instruction(code: 0x20, operand: 0)
    let isSetup = Instruction(code: 0x15, ifFalse: 1, operand: 425)
    let refuse = Instruction(code: 0x06, operand: 0x0005_0000 | UInt32(number))
    let allow = Instruction(code: 0x06, operand: 0x7FFF_0000)
    let instructions = [loadNumber, isSetup, refuse, allow]
    return instructions.withUnsafeBufferPointer { buffer in
        var program = Program(count: UInt16(buffer.count), instructions: buffer.baseAddress!)
        let setNoNewPrivileges: Int32 = 38
        let setSeccomp: Int32 = 22
        guard prctl(setNoNewPrivileges, 1, 0, 0, 0) == 0 else { return false }
        return withUnsafePointer(to: &program) { prctl(setSeccomp, 2, UInt(bitPattern: $0), 0, 0) == 0 }
    }
}
