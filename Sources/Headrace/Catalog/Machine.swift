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
    var processesOnNode: Int { launchedProcesses ?? 1 }
    /// nil: no launcher says.
    let launchedProcesses: Int?

    /// Share of the memory limit that a loader budgets by default, as a divisor.
    static let memoryShare = 4
    /// The default budget never exceeds this: prefetching more does not read faster.
    static let memoryCap = 4 << 30

    /// Files that this process may have open.
    let openFileLimit: Int

    static let current = Machine()

    private init() {
        let quota = Self.cpuQuota()
        let affinity = affinityCoreCount()
        cores = quota.map { max(1, min(affinity, $0)) } ?? affinity
        memory = Self.memoryLimit()
        launchedProcesses = Self.launchedProcessCount()
        var limit = rlimit()
        let isKnown = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
        openFileLimit = isKnown ? Int(clamping: limit.rlim_cur) : 1024
    }

    var defaultWorkers: Int { max(1, cores / processesOnNode) }

    var defaultBudget: Int { min(Self.memoryCap, memory / Self.memoryShare / processesOnNode) }

    private static func launchedProcessCount() -> Int? {
        for name in ["LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"] {
            guard let value = unsafe getenv(name) else { continue }
            // Slurm writes "4(x2)" where nodes differ.
            let digits = unsafe String(cString: value).prefix { $0.isNumber }
            if let count = Int(digits), count > 0 { return count }
        }
        return nil
    }

    private static func memoryLimit() -> Int {
        let physical = max(1, sysconf(Int32(_SC_PHYS_PAGES))) * max(1, sysconf(Int32(_SC_PAGESIZE)))
        var limit = physical
        for group in controlGroups() {
            // Version 1 says "no limit" with a number larger than any memory.
            let name = group.isUnified ? "memory.max" : "memory.limit_in_bytes"
            if let value = number(group.directory, name), value > 0 { limit = min(limit, value) }
        }
        return limit
    }

    private static func cpuQuota() -> Int? {
        var quota: Int?
        for group in controlGroups() {
            var granted: Int?
            var period: Int?
            if group.isUnified {
                let words = (try? SmallFile.read("\(group.directory)/cpu.max"))?.split(
                    whereSeparator: \.isWhitespace)
                granted = words?.first.flatMap { Int($0) }
                period = words?.last.flatMap { Int($0) }
            } else {
                granted = number(group.directory, "cpu.cfs_quota_us")
                period = number(group.directory, "cpu.cfs_period_us")
            }
            guard let granted, let period, granted > 0, period > 0 else { continue }
            quota = min(quota ?? Int.max, (granted + period - 1) / period)
        }
        return quota
    }

    private static func number(_ directory: String, _ file: String) -> Int? {
        guard let text = try? SmallFile.read("\(directory)/\(file)") else { return nil }
        return Int(text.filter { $0.isNumber || $0 == "-" })
    }

    /// The process's control groups, of either version, and all above them, whose limits bind it too.
    private static func controlGroups() -> [(directory: String, isUnified: Bool)] {
        var groups = [
            ("/sys/fs/cgroup", true), ("/sys/fs/cgroup/memory", false), ("/sys/fs/cgroup/cpu", false),
        ]
        guard let text = try? SmallFile.read("/proc/self/cgroup") else { return groups }
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let isUnified = parts[1].isEmpty
            let controllers = parts[1].split(separator: ",")
            var directory = "/sys/fs/cgroup"
            if !isUnified {
                guard let controller = controllers.first(where: { $0 == "memory" || $0 == "cpu" }) else {
                    continue
                }
                directory += "/\(controller)"
            }
            for part in parts[2].split(separator: "/") {
                directory += "/" + part
                groups.append((directory, isUnified))
            }
        }
        return groups
    }
}
