// swift-tools-version: 6.2
import PackageDescription

// The scanners and codecs that are measured alone are no part of the library's interface. Modules see each other's
// `package` declarations when they are compiled under one package name, which SwiftPM makes of the folder's;
// `packageAccess` is off below so that it does not add a name of its own after ours.
let parent = Context.packageDirectory.split(separator: "/").dropLast().last.map(String.init) ?? ""
let packageName = String(parent.lowercased().map { $0.isLetter || $0.isNumber ? $0 : "_" })

let package = Package(
    name: "headrace-benchmarks",
    dependencies: [
        .package(name: "headrace", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    ],
    targets: [
        .executableTarget(
            name: "headrace-bench",
            dependencies: [
                .product(name: "Headrace", package: "headrace"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/Bench", packageAccess: false,
            swiftSettings: [
                .swiftLanguageMode(.v6), .treatAllWarnings(as: .error),
                .unsafeFlags(["-package-name", packageName]),
            ])
    ]
)
