/// The eight rooms a sample passes through, in order.
public enum Room: String, Sendable, CaseIterable {
    /// Shards are listed, opened and recognised.
    case catalog
    /// The order is fixed, samples are numbered.
    case plan
    /// Memory is granted.
    case admit
    /// Bytes are read.
    case fetch
    /// Codec, then format: bytes become samples.
    case unpack
    /// Fields become rows.
    case decode
    /// Rows become batches.
    case assemble
    /// Batches reach the consumer.
    case handOver = "hand_over"
}

/// How one room spent its time, summed over the threads that worked in it.
public struct RoomTimes: Sendable, Equatable {
    /// Nanoseconds of work.
    public var busyNanoseconds = 0
    /// Nanoseconds without anything to work on.
    public var waitInputNanoseconds = 0
    /// Nanoseconds with work but no room to put the result in.
    public var waitRoomNanoseconds = 0

    /// No time at all.
    public init() {}
}

/// The times of all rooms; a plain value that each thread adds to its own copy of.
struct RoomClock: Sendable {
    private var times = [RoomTimes](repeating: RoomTimes(), count: Room.allCases.count)

    subscript(room: Room) -> RoomTimes {
        get { times[Self.place(room)] }
        set { times[Self.place(room)] = newValue }
    }

    mutating func add(_ other: RoomClock) {
        for index in times.indices {
            times[index].busyNanoseconds += other.times[index].busyNanoseconds
            times[index].waitInputNanoseconds += other.times[index].waitInputNanoseconds
            times[index].waitRoomNanoseconds += other.times[index].waitRoomNanoseconds
        }
    }

    private static func place(_ room: Room) -> Int {
        switch room {
        case .catalog: 0
        case .plan: 1
        case .admit: 2
        case .fetch: 3
        case .unpack: 4
        case .decode: 5
        case .assemble: 6
        case .handOver: 7
        }
    }
}
