internal import CHeadraceCore

/// Asks for the cache line at `address` while other work is done: for look-ups all over a large table.
@inline(__always)
package func prefetch(_ address: UnsafeRawPointer) { unsafe headrace_prefetch(address) }
