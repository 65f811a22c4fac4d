// swift-tools-version: 6.2
import PackageDescription

// Directories carry the short names of the blueprint (Core, Storage, Formats, ...); module names carry the
// prefix `Headrace`, because a package that depends on us must be able to have a module `Core` of its own.

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
let testing: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
let images: [CSetting] = [.define("HEADRACE_IMAGES", .when(traits: ["Images"]))]
let c: [CSetting] = [.define("_GNU_SOURCE"), .treatAllWarnings(as: .error)]

/// A Swift target of ours: directory `Sources/<directory>`, module `Headrace<directory>`.
func module(_ directory: String, dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: "Headrace\(directory)", dependencies: dependencies, path: "Sources/\(directory)",
        swiftSettings: strict)
}

func tests(_ directory: String, dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: "\(directory)Tests", dependencies: dependencies, path: "Tests/\(directory)Tests",
        swiftSettings: testing)
}

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "headrace",
    products: [
        .library(name: "Headrace", targets: ["Headrace"]),
        .executable(name: "headrace", targets: ["HeadraceTool"]),
        .executable(name: "pipebench", targets: ["Pipebench"]),
    ],
    traits: [
        .trait(name: "Images", description: "Decoding of JPEG and PNG, by libjpeg-turbo and libpng."),
        .default(enabledTraits: ["Images"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
    ],
    targets: [
        .target(name: "CHeadraceCore", path: "Sources/CCore", cSettings: c),
        .target(
            name: "CHeadraceRing", path: "Sources/CURing", cSettings: c,
            linkerSettings: [.linkedLibrary("uring")]),
        .target(
            name: "CHeadraceDevice", path: "Sources/CDevice", cSettings: c,
            linkerSettings: [.linkedLibrary("dl")]),
        .target(
            name: "CHeadraceImage", path: "Sources/CImage", cSettings: c + images,
            linkerSettings: [
                .linkedLibrary("jpeg", .when(traits: ["Images"])),
                .linkedLibrary("png", .when(traits: ["Images"])),
                // What a static libpng needs.
                .linkedLibrary("z", .when(traits: ["Images"])),
            ]),
        .systemLibrary(
            name: "CHeadraceZstd", path: "Sources/CZstd", pkgConfig: "libzstd",
            providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(
            name: "CHeadraceZlib", path: "Sources/CZlib", pkgConfig: "zlib",
            providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(
            name: "CHeadraceLZ4", path: "Sources/CLZ4", pkgConfig: "liblz4",
            providers: [.apt(["liblz4-dev"])]),

        module("Core", dependencies: ["CHeadraceCore"]),
        module("Storage", dependencies: ["HeadraceCore", "CHeadraceRing"]),
        module("Formats", dependencies: ["HeadraceCore", "CHeadraceZstd", "CHeadraceZlib", "CHeadraceLZ4"]),
        module("Decode", dependencies: ["HeadraceCore", "CHeadraceImage"]),
        module("Compute", dependencies: ["HeadraceCore", "CHeadraceDevice"]),
        module("Tiers", dependencies: ["HeadraceCore"]),
        .target(
            name: "Headrace",
            dependencies: [
                "HeadraceCore", "HeadraceStorage", "HeadraceFormats", "HeadraceDecode", "HeadraceCompute",
                "HeadraceTiers",
            ],
            path: "Sources/Headrace", swiftSettings: strict),
        module("CommandLine", dependencies: ["HeadraceCore", arguments]),
        .executableTarget(
            name: "HeadraceTool",
            dependencies: [
                "Headrace", "HeadraceCore", "HeadraceFormats", "HeadraceStorage", "HeadraceTiers",
                "HeadraceCommandLine", arguments,
            ],
            path: "Sources/HeadraceTool", swiftSettings: strict),
        .executableTarget(
            name: "Pipebench",
            dependencies: [
                "Headrace", "HeadraceCore", "HeadraceCompute", "HeadraceTiers", "HeadraceStorage",
                "HeadraceCommandLine", arguments,
            ],
            path: "Sources/Pipebench", swiftSettings: strict),
        .executableTarget(
            name: "fashion-train", dependencies: ["Headrace", "HeadraceCore", arguments],
            path: "Examples/FashionTrain", swiftSettings: testing),

        tests("Core", dependencies: ["HeadraceCore"]),
        tests("Storage", dependencies: ["HeadraceStorage", "HeadraceCore"]),
        tests("Formats", dependencies: ["HeadraceFormats", "HeadraceCore"]),
        tests("Decode", dependencies: ["HeadraceDecode", "HeadraceCore", "CHeadraceImage"]),
        .target(
            name: "FakeCUDA", path: "Tests/FakeCUDA", exclude: ["fake_cuda.c", "fake_streams.h"],
            swiftSettings: testing),
        tests("Compute", dependencies: ["HeadraceCompute", "HeadraceCore", "FakeCUDA"]),
        tests("Tiers", dependencies: ["HeadraceTiers", "HeadraceCore"]),
        tests(
            "Headrace",
            dependencies: [
                "Headrace", "HeadraceCore", "HeadraceCompute", "HeadraceDecode", "HeadraceFormats",
                "HeadraceStorage", "HeadraceTiers", "FakeCUDA",
            ]),
        tests(
            "Tools",
            dependencies: ["HeadraceTool", "Pipebench", "fashion-train", "HeadraceCore", "FakeCUDA"]),
        tests("Tidy", dependencies: []),
    ]
)

// The fuzz targets link with libFuzzer, so they are there only when asked for: Scripts/fuzz.sh.
if Context.environment["HEADRACE_FUZZ"] != nil {
    package.targets += [
        .executableTarget(
            name: "headrace-fuzz",
            dependencies: [
                "HeadraceCore", "HeadraceFormats", "HeadraceDecode", "Headrace", "CHeadraceImage",
            ],
            path: "Tests/Fuzz", swiftSettings: testing)
    ]
}
