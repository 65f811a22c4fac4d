// Numbers as people read them. Scripts take the JSON, which has them unrounded.

/// "1,234,567"
func grouped(_ number: Int) -> String {
    let digits = String(number.magnitude)
    var text = ""
    for (place, digit) in digits.enumerated() {
        if place > 0 && (digits.count - place) % 3 == 0 { text += "," }
        text.append(digit)
    }
    return number < 0 ? "-" + text : text
}

/// Rounded to `decimals` places, groups in the whole part: "1,234.5".
func decimal(_ number: Double, _ decimals: Int) -> String {
    guard number.isFinite, abs(number) < 1e15 else { return "-" }
    var scale = 1.0
    for _ in 0..<decimals { scale *= 10 }
    let scaled = Int((abs(number) * scale).rounded())
    let whole = grouped(scaled / Int(scale))
    let sign = number < 0 && scaled > 0 ? "-" : ""
    guard decimals > 0 else { return sign + whole }
    let rest = String(scaled % Int(scale))
    return sign + whole + "." + String(repeating: "0", count: decimals - rest.count) + rest
}

/// Three figures or more: "0.023", "4.51", "78.2", "1,234".
func figure(_ number: Double) -> String {
    switch abs(number) {
    case ..<1: decimal(number, 3)
    case ..<10: decimal(number, 2)
    case ..<100: decimal(number, 1)
    default: decimal(number, 0)
    }
}

/// "12.3 %"; a share that is there but rounds to nothing is not shown as nothing.
func percent(_ share: Double) -> String {
    if share > 0 && share < 0.0005 { return "<0.1 %" }
    return decimal(share * 100, 1) + " %"
}

/// `text` at the right end of `width` columns.
func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

/// `text` at the left end of `width` columns.
func left(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
}
