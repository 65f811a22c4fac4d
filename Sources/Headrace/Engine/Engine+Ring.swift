internal import HeadraceCore
internal import HeadraceStorage

extension Engine {
    /// The part of the reads under way that the ring thread waits for at once.
    private static let readsByWakeUp = 8

    /// Makes the reader on the thread that will use it, as a ring demands, and serves until the loader closes.
    func serveRing(_ storage: any Storage, depth: Int) {
        do throws(HeadraceError) {
            runRing(try storage.makeReader(queueDepth: depth))
        } catch {
            lock.withLock { terminate(.failure(error)) }
        }
    }

    /// Room 4 as a thread of its own, for reads that profit from a deep queue: direct ones, and any with io_uring
    /// asked for. It submits admitted chunks in order and hands filled ones to the workers.
    func runRing(_ reader: any Reader) {
        var requests: [ReadRequest] = []
        var completions: [ReadCompletion] = []
        /// Chunks under way, by the number that their reads' tickets carry.
        var underWay: [UInt64: Chunk] = [:]
        var nextTicket: UInt64 = 0
        /// Requests of admitted chunks that found no place in the queue yet.
        var backlog: [ReadRequest] = []
        // `wake` is the one call of a reader that other threads may make.
        nonisolated(unsafe) let wakeable = reader
        lock.withLock { wakeRing = { unsafe wakeable.wake() } }
        let cpuBefore = Clock.threadCPU()
        while true {
            let began = Clock.now()
            lock.lock()
            while !isClosing && ringQueue.isEmpty && underWay.isEmpty {
                ringWork.wait()
            }
            clock[.fetch].waitRoomNanoseconds += Clock.now() - began
            if isClosing { break }
            // No more than the queue soon has room for: a listed read keeps its file open.
            var taken: [Chunk] = []
            while taken.count < ringQueue.count, backlog.count + taken.count < 2 * reader.queueDepth {
                taken.append(ringQueue[taken.count])
            }
            ringQueue.removeFirst(taken.count)
            for chunk in taken { chunk.state = .filling }
            ringInFlight = underWay.count + taken.count
            lock.unlock()

            for chunk in taken {
                underWay[nextTicket] = chunk
                backlog += pieces(of: chunk, ticket: nextTicket)
                nextTicket += 1
            }
            let room = max(0, reader.queueDepth - reader.inFlight)
            requests.removeAll(keepingCapacity: true)
            requests.append(contentsOf: backlog.prefix(room))
            backlog.removeFirst(min(room, backlog.count))
            if !requests.isEmpty { reader.submit(requests) }
            completions.removeAll(keepingCapacity: true)
            let waitBegan = Clock.now()
            let cpuBegan = Clock.threadCPU()
            // A few at a time: of a deep queue, waking up for each read costs more than the read.
            reader.wait(
                minimum: min(1, reader.inFlight), hoping: reader.inFlight / Self.readsByWakeUp,
                into: &completions)
            // Buffered reads are copied inside this call: that is work, and counted as such below.
            noteSources(of: reader, completions, underWay)
            let waited = max(0, Clock.now() - waitBegan - (Clock.threadCPU() - cpuBegan))
            for completion in completions { settle(completion, &underWay, began: waitBegan) }
            finishEmpty(&underWay)
            lock.withLock {
                clock[.fetch].waitInputNanoseconds += waited
                ringInFlight = underWay.count
                // Workers that went to sleep since the last chunk was handed on saw a read under way.
                checkForStarvation()
            }
        }
        wakeRing = nil
        clock[.fetch].busyNanoseconds += Clock.threadCPU() - cpuBefore
        lock.unlock()
        // The kernel may still write into slabs: nothing is freed until every read has come back.
        reader.close()
    }

    /// Counts from where the bytes of completed reads came, where the reader tells.
    private func noteSources(
        of reader: any Reader, _ completions: [ReadCompletion], _ underWay: [UInt64: Chunk]
    ) {
        guard let sources = reader.takeSources() else { return }
        let chunk = completions.first.flatMap { underWay[$0.ticket >> PlannedChunk.readBits] }
        lock.withLock {
            ringTellsSources = true
            tally.origins.add(sources, bytes: 0, epoch: chunk?.pass?.epoch ?? epoch)
        }
    }

    /// The reads of one chunk; none for an empty file.
    private func pieces(of chunk: Chunk, ticket: UInt64) -> [ReadRequest] {
        if let plan = chunk.planned, let source = indexed?.source {
            plan.prepareRequests(into: chunk, source, ticket: ticket)
            chunk.pendingReads = plan.requests.count
            return plan.requests
        }
        guard let pass = chunk.pass, let file = pass.file else { return [] }
        let plan = FetchPlan(chunk, pass, file, arena.geometry)
        var pieces: [ReadRequest] = []
        var done = 0
        while done < plan.length, plan.fileBytes > 0 {
            let length = min(ChunkGeometry.requestBytes, plan.length - done)
            unsafe pieces.append(
                ReadRequest(
                    ticket: ticket << PlannedChunk.readBits, file: file, offset: plan.offset + done,
                    length: length,
                    destination: plan.destination + done,
                    slab: pass.chunks.needsInput ? chunk.input : chunk.slab))
            done += length
        }
        chunk.pendingReads = pieces.count
        return pieces
    }

    private func settle(_ completion: ReadCompletion, _ underWay: inout [UInt64: Chunk], began: Int) {
        let ticket = completion.ticket >> PlannedChunk.readBits
        guard let chunk = underWay[ticket] else { return }
        chunk.pendingReads -= 1
        if let plan = chunk.planned {
            plan.settle(completion)
        } else {
            switch completion.result {
            case .success(let bytes): chunk.readBytes += bytes
            case .failure(let error): chunk.failure = chunk.failure ?? error
            }
        }
        guard chunk.pendingReads == 0 else { return }
        underWay[ticket] = nil
        handOn(chunk, began: began)
    }

    private func finishEmpty(_ underWay: inout [UInt64: Chunk]) {
        for (ticket, chunk) in underWay where chunk.pendingReads == 0 {
            underWay[ticket] = nil
            handOn(chunk, began: Clock.now())
        }
    }

    /// A chunk's bytes are all there: frames go to a worker to be decompressed, the rest is ready to be unpacked.
    private func handOn(_ chunk: Chunk, began: Int) {
        if let plan = chunk.planned { return handOn(chunk, plan, began: began) }
        guard let pass = chunk.pass, let file = pass.file else { return }
        let plan = FetchPlan(chunk, pass, file, arena.geometry)
        do throws(HeadraceError) {
            if plan.fileBytes > 0 && chunk.failure == nil { try plan.check(chunk.readBytes, file) }
            plan.accept(chunk)
            if chunk.index == pass.chunks.count - 1 { try file.checkUnchanged() }
        } catch {
            chunk.failure = error
        }
        let isDiscarded = lock.withLock { () -> Bool in
            var isFrames = false
            if case .frames = pass.chunks { isFrames = true }
            chunk.state = isFrames && chunk.failure == nil ? .fetched : .filled
            noteFetch(
                bytes: plan.fileBytes, requests: (plan.length + (1 << 20) - 1) >> 20, began: began,
                ringTellsSources ? ByteSources() : nil, epoch: pass.epoch)
            workAvailable.signal()
            return pass.isOver
        }
        if isDiscarded { arena.release(chunk) }
    }

    /// The reads of a planned chunk are all there: a worker finds the samples in them.
    private func handOn(_ chunk: Chunk, _ plan: PlannedChunk, began: Int) {
        let bytes = plan.fetches.reduce(0) { $0 + $1.length }
        plan.finishReading()
        chunk.isFetched = true
        lock.withLock {
            chunk.state = .fetched
            noteFetch(
                bytes: bytes, requests: plan.fetches.count, began: began,
                ringTellsSources ? ByteSources() : nil, epoch: epoch)
            indexed?.fillQueue.append(chunk)
            workAvailable.signal()
        }
    }
}
