internal import CHeadraceRing

/// Where a file system keeps its bytes, as far as its magic number tells.
package struct FileSystemKind {
    private let magic: UInt32

    /// The kind of file system that holds `path`; nil when the system will not say.
    package init?(ofPath path: String) {
        let answer = unsafe headrace_file_system_magic(path)
        guard answer >= 0 else { return nil }
        magic = UInt32(truncatingIfNeeded: answer)
    }

    /// What is in it is made up by the kernel, and nobody can put files there: proc, sysfs and their like.
    package var isKernels: Bool {
        [0x9FA0, 0x6265_6572, 0x6462_6720, 0x6367_7270, 0x0027_E0EB, 0x1CD1].contains(magic)
    }

    /// tmpfs and ramfs.
    var isInMemory: Bool { magic == 0x0102_1994 || magic == 0x8584_58F6 }

    /// The bytes are, or may be, on another machine, whose cache nobody here can see. FUSE counts: it carries
    /// object stores and sshfs as often as local disks.
    var isNetwork: Bool { Self.networkNames[magic] != nil }

    private static let networkNames: [UInt32: String] = [
        0x6969: "nfs", 0x517B: "smb", 0xFE53_4D42: "smb2", 0xFF53_4D42: "cifs", 0x00C3_6400: "ceph",
        0x0BD0_0BD0: "lustre", 0x4750_4653: "gpfs", 0x1983_0326: "beegfs", 0x6573_5546: "fuse",
        0x0102_1997: "9p", 0x5346_414F: "afs", 0x6B41_4653: "kafs", 0x2003_0528: "orangefs",
        0x7375_7245: "coda", 0x0116_1970: "gfs2", 0x7461_636F: "ocfs2",
    ]
}
