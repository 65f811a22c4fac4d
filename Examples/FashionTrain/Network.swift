/// A network of one hidden layer in plain Swift: pixels, rectified hidden units, ten classes; stochastic gradient
/// descent with momentum.
///
/// Nearly all the work is one loop, ``add(_:_:to:count:)`` over neighbouring hidden units, which the compiler turns into
/// vector instructions. Pixels that are black, as half of them are here, cost nothing.
struct Network {
    static let pixels = 784
    static let classes = 10

    let hidden: Int
    /// Weights of the hidden layer as `[pixel][unit]`, its biases, weights of the output as `[class][unit]`, and its
    /// biases: one after the other, so that a checkpoint is one array.
    private(set) var weights: [Float]
    private(set) var velocities: [Float]

    private let biasStart: Int
    private let outputStart: Int
    private let outputBiasStart: Int

    /// Weights drawn from `seed`.
    init(hidden: Int, seed: UInt64) {
        self.hidden = hidden
        biasStart = hidden * Self.pixels
        outputStart = biasStart + hidden
        outputBiasStart = outputStart + Self.classes * hidden
        var random = seed
        func uniform(_ limit: Float) -> Float {
            // Splitmix64, as small as a good generator gets.
            random &+= 0x9e37_79b9_7f4a_7c15
            var bits = random
            bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
            bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
            bits ^= bits >> 31
            return (Float(bits >> 40) / Float(1 << 23) - 1) * limit
        }
        var weights = [Float](repeating: 0, count: outputBiasStart + Self.classes)
        let hiddenLimit = (6 / Float(Self.pixels)).squareRoot()
        let outputLimit = (6 / Float(hidden)).squareRoot()
        for place in 0..<biasStart { weights[place] = uniform(hiddenLimit) }
        for place in outputStart..<outputBiasStart { weights[place] = uniform(outputLimit) }
        self.weights = weights
        velocities = [Float](repeating: 0, count: weights.count)
    }

    /// A network that was trained before; nil where the numbers are not as many as it has.
    init?(hidden: Int, weights: [Float], velocities: [Float]) {
        self.init(hidden: hidden, seed: 0)
        guard weights.count == self.weights.count, velocities.count == weights.count else { return nil }
        self.weights = weights
        self.velocities = velocities
    }

    // MARK: Forward

    /// What the hidden units and the classes come to.
    struct Activity {
        var hidden: [Float]
        /// Probabilities.
        var classes: [Float]
    }

    /// For `count` rows of pixels from 0 to 1.
    func run(_ images: [Float], count: Int) -> Activity {
        var activity = Activity(
            hidden: [Float](repeating: 0, count: count * hidden),
            classes: [Float](repeating: 0, count: count * Self.classes))
        weights.withUnsafeBufferPointer { weights in
            let weights = weights.baseAddress!
            activity.hidden.withUnsafeMutableBufferPointer { units in
                for row in 0..<count {
                    let units = units.baseAddress! + row * hidden
                    add(1, weights + biasStart, to: units, count: hidden)
                    for pixel in 0..<Self.pixels {
                        let value = images[row * Self.pixels + pixel]
                        if value != 0 { add(value, weights + pixel * hidden, to: units, count: hidden) }
                    }
                    for unit in 0..<hidden { units[unit] = max(units[unit], 0) }
                }
            }
        }
        for row in 0..<count { classify(row, &activity) }
        return activity
    }

    private func classify(_ row: Int, _ activity: inout Activity) {
        var scores = [Float](repeating: 0, count: Self.classes)
        for label in 0..<Self.classes {
            var sum = weights[outputBiasStart + label]
            let start = outputStart + label * hidden
            for unit in 0..<hidden { sum += weights[start + unit] * activity.hidden[row * hidden + unit] }
            scores[label] = sum
        }
        let largest = scores.max() ?? 0
        let powers = scores.map { exponential($0 - largest) }
        let total = powers.reduce(0, +)
        for label in 0..<Self.classes { activity.classes[row * Self.classes + label] = powers[label] / total }
    }

    // MARK: Backward

    /// One step down the gradient; the mean loss of the rows before it.
    mutating func train(_ images: [Float], _ labels: [Int64], rate: Float, momentum: Float) -> Double {
        let count = labels.count
        let activity = run(images, count: count)
        var loss = 0.0
        // Probabilities become the gradient of the scores.
        var scores = activity.classes
        for row in 0..<count {
            let place = row * Self.classes + Int(labels[row])
            loss -= Double(logarithm(max(scores[place], 1e-12)))
            scores[place] -= 1
        }
        for place in scores.indices { scores[place] /= Float(count) }
        let units = gradientOfHidden(scores, activity, count)
        let step = Step(rate: rate, momentum: momentum)
        stepOutput(scores, activity, count, step)
        stepHidden(images, units, count, step)
        return loss / Double(count)
    }

    private struct Step {
        let rate: Float
        let momentum: Float
    }

    private func gradientOfHidden(_ scores: [Float], _ activity: Activity, _ count: Int) -> [Float] {
        var gradient = [Float](repeating: 0, count: count * hidden)
        weights.withUnsafeBufferPointer { weights in
            gradient.withUnsafeMutableBufferPointer { gradient in
                for row in 0..<count {
                    let units = gradient.baseAddress! + row * hidden
                    for label in 0..<Self.classes {
                        let from = weights.baseAddress! + outputStart + label * hidden
                        add(scores[row * Self.classes + label], from, to: units, count: hidden)
                    }
                    for unit in 0..<hidden where activity.hidden[row * hidden + unit] <= 0 { units[unit] = 0 }
                }
            }
        }
        return gradient
    }

    private mutating func stepOutput(_ scores: [Float], _ activity: Activity, _ count: Int, _ step: Step) {
        var sums = [Float](repeating: 0, count: hidden)
        for label in 0..<Self.classes {
            for unit in 0..<hidden { sums[unit] = 0 }
            var bias: Float = 0
            for row in 0..<count {
                let score = scores[row * Self.classes + label]
                bias += score
                activity.hidden.withUnsafeBufferPointer { units in
                    sums.withUnsafeMutableBufferPointer {
                        add(score, units.baseAddress! + row * hidden, to: $0.baseAddress!, count: hidden)
                    }
                }
            }
            move(outputStart + label * hidden, by: sums, step)
            move(outputBiasStart + label, by: [bias], step)
        }
    }

    private mutating func stepHidden(_ images: [Float], _ gradient: [Float], _ count: Int, _ step: Step) {
        var sums = [Float](repeating: 0, count: hidden)
        for pixel in 0...Self.pixels {
            // Behind the last pixel come the biases, as one that is always white.
            let isBias = pixel == Self.pixels
            for unit in 0..<hidden { sums[unit] = 0 }
            gradient.withUnsafeBufferPointer { gradient in
                sums.withUnsafeMutableBufferPointer { sums in
                    for row in 0..<count {
                        let value = isBias ? 1 : images[row * Self.pixels + pixel]
                        if value == 0 { continue }
                        add(value, gradient.baseAddress! + row * hidden, to: sums.baseAddress!, count: hidden)
                    }
                }
            }
            move(pixel * hidden, by: sums, step)
        }
    }

    /// Moves the weights from `start` on against their gradient.
    private mutating func move(_ start: Int, by gradient: [Float], _ step: Step) {
        weights.withUnsafeMutableBufferPointer { weights in
            velocities.withUnsafeMutableBufferPointer { velocities in
                let weights = weights.baseAddress! + start
                let velocities = velocities.baseAddress! + start
                for place in 0..<gradient.count {
                    velocities[place] = step.momentum * velocities[place] - step.rate * gradient[place]
                    weights[place] += velocities[place]
                }
            }
        }
    }

    // MARK: Judging

    /// How many of the rows get their own label.
    func rightCount(_ images: [Float], _ labels: [Int64]) -> Int {
        let classes = run(images, count: labels.count).classes
        return labels.indices.count { row in
            let scores = classes[(row * Self.classes)..<((row + 1) * Self.classes)]
            return scores.indices.max { scores[$0] < scores[$1] }! - row * Self.classes == Int(labels[row])
        }
    }
}

/// `to[i] += factor * from[i]`
@inline(__always)
private func add(
    _ factor: Float, _ from: UnsafePointer<Float>, to: UnsafeMutablePointer<Float>, count: Int
) {
    var place = 0
    while place < count {
        to[place] += factor * from[place]
        place &+= 1
    }
}
