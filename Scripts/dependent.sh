#!/usr/bin/env bash
# Builds and runs a package that depends on Headrace by a version tag, as a user's would: its program is the first
# Swift block of the README, read from there, over shards packed by the headrace of this build.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=99.0.0
git clone --quiet --no-hardlinks "$root" "$work/headrace"
# What is not committed yet is tried as well: the clone gets the working tree's files.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ -e "$file" ] || continue
    mkdir -p "$work/headrace/$(dirname "$file")"
    cp "$file" "$work/headrace/$file"
done
git -C "$work/headrace" add -A
git -C "$work/headrace" -c user.name=test -c user.email=test@localhost commit --quiet --allow-empty -m "Under test"
git -C "$work/headrace" tag "$version"

mkdir -p "$work/user/Sources/Train" "$work/user/data" "$work/images"
for index in $(seq 1 40); do
    printf '%s' "$((index % 10))" >"$work/images/$index.cls"
    head -c 784 /dev/urandom >"$work/images/$index.img"
done
headrace=$(swift build --show-bin-path)/headrace
[ -x "$headrace" ] || swift build --product headrace
"$headrace" pack "$work/images" -o "$work/user/data/train-%06d.tar.zst" --shard-count 10 --quiet

cat >"$work/user/Package.swift" <<EOF
// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "user",
    dependencies: [.package(url: "file://$work/headrace", from: "$version")],
    targets: [
        .executableTarget(name: "Train", dependencies: [.product(name: "Headrace", package: "headrace")])
    ])
EOF
{
    awk '/^```swift$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' README.md
    cat <<'EOF'

func train(_ images: Tensor, _ labels: Tensor) {
    print("batch of \(labels.count), labels \(try! labels.elements(as: Int64.self).prefix(4))")
}
EOF
} >"$work/user/Sources/Train/main.swift"

echo "Building a package that depends on Headrace $version"
(cd "$work/user" && swift build 2>&1 | tail -n 3 && swift run --skip-build Train) | tee "$work/out"
[ "$(grep -c '^batch of 10' "$work/out")" = 4 ] || {
    echo "the README's program did not yield the 4 batches of 10 that were packed" >&2
    exit 1
}
echo "The README's program works in a package of its own"
