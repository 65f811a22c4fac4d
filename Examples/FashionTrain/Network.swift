/// A network of one hidden layer in plain Swift: pixels, rectified hidden units, ten classes; stochastic gradient
/// descent with momentum.
///
/// Hidden units go in blocks of 32: a block's sums stay in registers while a row of pixels passes, and pixels that are
/// black, as half of them are here, cost nothing.
struct Network {
    static let pixels = 784
    static let classes = 10
    static let blockUnits = 32

    let hidden: Int
    /// Weights of the hidden layer as `[block][pixel][unit]`, its biases, weights of the output as `[class][unit]`, and its
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

    /// What the hidden units and the classes come to, for rows of pixels from 0 to 1.
    struct Activity {
        var hidden: [Float]
        /// Probabilities.
        var classes: [Float]
    }

    func run(_ images: [Float], count: Int) -> Activity {
        var activity = Activity(
            hidden: [Float](repeating: 0, count: count * hidden),
            classes: [Float](repeating: 0, count: count * Self.classes))
        images.withUnsafeBufferPointer { images in
            weights.withUnsafeBufferPointer { weights in
                activity.hidden.withUnsafeMutableBufferPointer { units in
                    for row in 0..<count {
                        hide(
                            UnsafeBufferPointer(rebasing: images[(row * Self.pixels)...]), weights, row, units
                        )
                    }
                    activity.classes.withUnsafeMutableBufferPointer { classes in
                        for row in 0..<count { classify(row, UnsafeBufferPointer(units), weights, classes) }
                    }
                }
            }
        }
        return activity
    }

    private func hide(
        _ image: UnsafeBufferPointer<Float>, _ weights: UnsafeBufferPointer<Float>, _ row: Int,
        _ units: UnsafeMutableBufferPointer<Float>
    ) {
        let blocks = UnsafeRawPointer(weights.baseAddress!)
        let result = UnsafeMutableRawPointer(units.baseAddress! + row * hidden)
        for block in 0..<hidden / Self.blockUnits {
            var sums = blocks.loadUnaligned(
                fromByteOffset: 4 * (biasStart + block * Self.blockUnits), as: SIMD32<Float>.self)
            let base = blocks + 4 * block * Self.pixels * Self.blockUnits
            for pixel in 0..<Self.pixels where image[pixel] != 0 {
                let column = base.loadUnaligned(
                    fromByteOffset: 4 * pixel * Self.blockUnits, as: SIMD32<Float>.self)
                sums += column * image[pixel]
            }
            sums.replace(with: 0, where: sums .< 0)
            result.storeBytes(of: sums, toByteOffset: 4 * block * Self.blockUnits, as: SIMD32<Float>.self)
        }
    }

    private func classify(
        _ row: Int, _ units: UnsafeBufferPointer<Float>, _ weights: UnsafeBufferPointer<Float>,
        _ classes: UnsafeMutableBufferPointer<Float>
    ) {
        var largest = -Float.infinity
        for label in 0..<Self.classes {
            var sums = SIMD32<Float>(repeating: 0)
            for block in stride(from: 0, to: hidden, by: Self.blockUnits) {
                let from = UnsafeRawPointer(weights.baseAddress! + outputStart + label * hidden + block)
                let unit = UnsafeRawPointer(units.baseAddress! + row * hidden + block)
                sums +=
                    from.loadUnaligned(as: SIMD32<Float>.self) * unit.loadUnaligned(as: SIMD32<Float>.self)
            }
            let score = sums.sum() + weights[outputBiasStart + label]
            classes[row * Self.classes + label] = score
            largest = max(largest, score)
        }
        var total: Float = 0
        for label in 0..<Self.classes {
            let power = exponential(classes[row * Self.classes + label] - largest)
            classes[row * Self.classes + label] = power
            total += power
        }
        for label in 0..<Self.classes { classes[row * Self.classes + label] /= total }
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
        let hiddenGradient = gradientOfHidden(scores, activity, count)
        stepOutput(scores, activity, count, rate, momentum)
        stepHidden(images, hiddenGradient, count, rate, momentum)
        return loss / Double(count)
    }

    private func gradientOfHidden(_ scores: [Float], _ activity: Activity, _ count: Int) -> [Float] {
        var gradient = [Float](repeating: 0, count: count * hidden)
        for row in 0..<count {
            for label in 0..<Self.classes {
                let score = scores[row * Self.classes + label]
                for unit in 0..<hidden {
                    gradient[row * hidden + unit] += score * weights[outputStart + label * hidden + unit]
                }
            }
            for unit in 0..<hidden where activity.hidden[row * hidden + unit] <= 0 {
                gradient[row * hidden + unit] = 0
            }
        }
        return gradient
    }

    private mutating func move(_ place: Int, by gradient: Float, _ rate: Float, _ momentum: Float) {
        velocities[place] = momentum * velocities[place] - rate * gradient
        weights[place] += velocities[place]
    }

    private mutating func stepOutput(
        _ scores: [Float], _ activity: Activity, _ count: Int, _ rate: Float, _ momentum: Float
    ) {
        for label in 0..<Self.classes {
            var sums = [Float](repeating: 0, count: hidden)
            var bias: Float = 0
            for row in 0..<count {
                let score = scores[row * Self.classes + label]
                bias += score
                for unit in 0..<hidden { sums[unit] += score * activity.hidden[row * hidden + unit] }
            }
            for unit in 0..<hidden {
                move(outputStart + label * hidden + unit, by: sums[unit], rate, momentum)
            }
            move(outputBiasStart + label, by: bias, rate, momentum)
        }
    }

    private mutating func stepHidden(
        _ images: [Float], _ gradient: [Float], _ count: Int, _ rate: Float, _ momentum: Float
    ) {
        for unit in 0..<hidden {
            var bias: Float = 0
            for row in 0..<count { bias += gradient[row * hidden + unit] }
            move(biasStart + unit, by: bias, rate, momentum)
        }
        // By pixels, so that a pixel of all rows is read in one go.
        var columns = [Float](repeating: 0, count: images.count)
        for row in 0..<count {
            for pixel in 0..<Self.pixels { columns[pixel * count + row] = images[row * Self.pixels + pixel] }
        }
        let hidden = hidden
        weights.withUnsafeMutableBytes { weights in
            velocities.withUnsafeMutableBytes { velocities in
                gradient.withUnsafeBytes { gradient in
                    for block in 0..<hidden / Self.blockUnits {
                        for pixel in 0..<Self.pixels {
                            var sums = SIMD32<Float>(repeating: 0)
                            for row in 0..<count {
                                let value = columns[pixel * count + row]
                                if value == 0 { continue }
                                let from = 4 * (row * hidden + block * Self.blockUnits)
                                sums +=
                                    gradient.loadUnaligned(fromByteOffset: from, as: SIMD32<Float>.self)
                                    * value
                            }
                            let place = 4 * (block * Self.pixels + pixel) * Self.blockUnits
                            var velocity = velocities.loadUnaligned(
                                fromByteOffset: place, as: SIMD32<Float>.self)
                            velocity = velocity * momentum - sums * rate
                            velocities.storeBytes(of: velocity, toByteOffset: place, as: SIMD32<Float>.self)
                            let weight = weights.loadUnaligned(fromByteOffset: place, as: SIMD32<Float>.self)
                            weights.storeBytes(
                                of: weight + velocity, toByteOffset: place, as: SIMD32<Float>.self)
                        }
                    }
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
