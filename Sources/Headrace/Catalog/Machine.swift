internal import Glibc
internal import HeadraceCore
internal import HeadraceStorage

/// This process's share of the machine: cores and memory, as the kernel and the job's launcher limit them.
struct Machine: Sendable {
    /// Cores this process may run on: affinity mask and CPU quota of its control group.
    let cores: Int
    /// Bytes of memory its control group may use.
    let memory: Int
    /// Processes of the same job on this node, by the launcher's environment.
    let processesOnNode: Int

    /// Share of the memory limit that a loader budgets by default, as a divisor.
    static let memoryShare = 4
    /// The default budget never exceeds this: prefetching more does not read faster.
    static let memoryCap = 4 << 30

    static let current = Machine()

    private init() {
        let quota = Self.cpuQuota()
        let affinity = affinityCoreCount()
        cores = quota.map { max(1, min(affinity, $0)) } ?? affinity
        memory = Self.memoryLimit()
        processesOnNode = Self.launchedProcesses()
    }

    var defaultWorkers: Int { max(1, cores / processesOnNode) }

    var defaultBudget: Int { min(Self.memoryCap, memory / Self.memoryShare / processesOnNode) }

    private static func launchedProcesses() -> Int {
        for name in ["LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"] {
            guard let value = unsafe getenv(name) else { continue }
            // Slurm writes "4(x2)" where nodes differ.
            let digits = unsafe String(cString: value).prefix { $0.isNumber }
            if let count = Int(digits), count > 0 { return count }
        }
        return 1
    }

    private static func memoryLimit() -> Int {
        let physical = max(1, sysconf(Int32(_SC_PHYS_PAGES))) * max(1, sysconf(Int32(_SC_PAGESIZE)))
        var limit = physical
        for directory in controlGroups() {
            guard let text = try? SmallFile.read("\(directory)/memory.max") else { continue }
            if let value = Int(text.filter(\.isNumber)), value > 0 { limit = min(limit, value) }
        }
        return limit
    }

    private static func cpuQuota() -> Int? {
        var quota: Int?
        for directory in controlGroups() {
            guard let text = try? SmallFile.read("\(directory)/cpu.max") else { continue }
            let words = text.split(whereSeparator: \.isWhitespace)
            guard words.count == 2, let granted = Int(words[0]), let period = Int(words[1]), period > 0 else {
                continue
            }
            quota = min(quota ?? Int.max, (granted + period - 1) / period)
        }
        return quota
    }

    /// The process's control group (version 2) and all above it, whose limits bind it too.
    private static func controlGroups() -> [String] {
        var directories = ["/sys/fs/cgroup"]
        guard let text = try? SmallFile.read("/proc/self/cgroup") else { return directories }
        for line in text.split(separator: "\n") where line.hasPrefix("0::") {
            var path = "/sys/fs/cgroup"
            for part in line.dropFirst(3).split(separator: "/") {
                path += "/" + part
                directories.append(path)
            }
        }
        return directories
    }
}
