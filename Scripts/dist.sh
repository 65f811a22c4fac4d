#!/usr/bin/env bash
# Makes dist/headrace-VERSION-linux-ARCH.tar.gz: both tools with the Swift runtime, the C++ runtime and the C
# libraries inside, so that they run where there is only glibc. Ends by running them in such a place.
set -euo pipefail
cd "$(dirname "$0")/.."

bash Scripts/toolchain.sh
bash Scripts/dependencies.sh

work=$PWD/.build/dist
archives=$work/archives
rm -rf "$archives"
mkdir -p "$archives/pkgconfig"

fail() {
    printf 'dist: %s\n' "$1" >&2
    exit 2
}

# A folder that holds the static libraries only, and comes first: the linker takes what it finds there, and the
# shared library of the same name further on is never looked at.
collect() {
    local found
    found=$(cc -print-file-name="lib$1.a")
    [ -f "$found" ] || fail "there is no lib$1.a on this machine; install the package that has it ($2)"
    ln -s "$found" "$archives/lib$1.a"
}
collect stdc++ "libstdc++-12-dev, libstdc++-static"
collect uring "liburing-dev"
collect jpeg "libjpeg-dev, libjpeg-turbo-static"
collect png "libpng-dev, libpng-static"
for pair in libzstd:zstd liblz4:lz4 zlib:z; do
    package=${pair%:*} library=${pair#*:}
    pkg-config --exists "$package" || continue
    collect "$library" "$package"
    printf 'Name: %s\nDescription: static\nVersion: %s\nLibs: -L%s -l%s\n' \
        "$package" "$(pkg-config --modversion "$package")" "$archives" "$library" \
        >"$archives/pkgconfig/$package.pc"
done

echo "== Build (release, static)"
PKG_CONFIG_PATH=$archives/pkgconfig swift build -c release --scratch-path "$work" --static-swift-stdlib \
    -Xlinker -L"$archives" -Xswiftc -Xclang-linker -Xswiftc -static-libgcc
binaries=$(swift build -c release --scratch-path "$work" --show-bin-path)

for tool in headrace pipebench; do
    # Whatever a later release of a compiler adds to the list would be missing on somebody's machine.
    others=$(ldd "$binaries/$tool" | awk '{print $1}' | grep -vE '^(linux-vdso|libc|libm)\.so|/ld-linux' || true)
    [ -z "$others" ] || fail "$tool needs more than glibc: $(echo $others)"
done

version=$("$binaries/headrace" --version)
name=headrace-$version-linux-$(uname -m)
root=$work/$name
rm -rf "$root"
mkdir -p "$root/bin" "$root/completions" "$root/licences"
for tool in headrace pipebench; do
    strip -o "$root/bin/$tool" "$binaries/$tool"
    for shell in bash zsh fish; do
        "$root/bin/$tool" --generate-completion-script "$shell" >"$root/completions/$tool.$shell"
    done
done
cp README.md CHANGELOG.md LICENSE "$root/"

# What is linked in is distributed, so its licences go along.
licence() {
    local file
    for file in "${@:2}"; do
        if [ -f "$file" ]; then
            cp "$file" "$root/licences/$1.txt"
            return
        fi
    done
    printf 'dist: note: the licence of %s was not found on this machine and is not in the archive\n' "$1" >&2
}
toolchain=$(dirname "$(dirname "$(readlink -f "$(command -v swift)")")")
licence swift "$toolchain/share/swift/LICENSE.txt"
licence swift-argument-parser "$work/checkouts/swift-argument-parser/LICENSE.txt"
licence libstdc++ /usr/share/doc/libstdc++6/copyright /usr/share/licenses/libstdc++/COPYING.RUNTIME
for pair in liburing:liburing-dev libzstd:libzstd-dev liblz4:liblz4-dev zlib:zlib1g-dev \
    libjpeg-turbo:libjpeg62-turbo-dev libpng:libpng-dev; do
    licence "${pair%:*}" "/usr/share/doc/${pair#*:}/copyright" "/usr/share/licenses/${pair%:*}/LICENSE"
done

needed=$(objdump -T "$root/bin/headrace" "$root/bin/pipebench" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -n 1)
mkdir -p dist
archive=dist/$name.tar.gz
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$work" -c "$name" | gzip -n -9 >"$archive.partial"
mv "$archive.partial" "$archive"

echo "== Test without a toolchain"
tested=", tested where there is only that"
bash Scripts/dist-test.sh "$archive" || {
    [ $? -eq 3 ] || exit 1
    tested=", not tested"
}
echo "$archive: $(du -h "$archive" | cut -f1), needs Linux and glibc ${needed#GLIBC_} or later$tested"
(cd dist && sha256sum "$name.tar.gz")
