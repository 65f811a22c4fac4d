#!/usr/bin/env bash
# Runs the tools of an archive in a root file system that holds the archive and glibc, and nothing else: no Swift,
# no C++ runtime, no codec libraries, no shell.
set -euo pipefail
archive=${1:?usage: dist-test.sh ARCHIVE}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/opt" "$root/tmp" "$root/proc" "$root/data/src"
tar -xzf "$archive" -C "$root/opt" --strip-components=1

# The loader and the libraries that the tools name, by the paths they are named with.
ldd "$root/opt/bin/headrace" | grep -oE '/[^ ]+' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
for number in $(seq 200); do
    head -c $((number * 37)) /dev/urandom >"$root/data/src/$number.bin"
    printf '%s' "$number" >"$root/data/src/$number.cls"
done

if [ "$(id -u)" -eq 0 ]; then
    enter=("$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)" "$root")
elif unshare --user --map-root-user true 2>/dev/null; then
    enter=("$(command -v unshare)" --user --map-root-user "$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)" "$root")
else
    echo "SKIPPED: neither root nor user namespaces here, so the archive was not run without a toolchain" >&2
    exit 3
fi

inside() {
    env -i PATH=/opt/bin "${enter[@]}" "$@" || {
        printf 'dist-test: failed with status %s: %s\n' "$?" "$*" >&2
        exit 1
    }
}
inside /opt/bin/headrace --version
for ending in tar tar.zst tfrecord.zst tar.lz4; do
    inside /opt/bin/headrace pack /data/src -o "/data/$ending/x-%03d.$ending" --shard-count 80 -q
    inside /opt/bin/headrace verify "/data/$ending/x-{000..002}.$ending"
    inside /opt/bin/pipebench read "/data/$ending/x-{000..002}.$ending" --digest -q -j >"$root/report"
    grep -q '"samples":200' "$root/report" || {
        echo "dist-test: not all samples of .$ending came: $(cat "$root/report")" >&2
        exit 1
    }
done
# zlib, too, which writes nothing of ours.
gzip -k "$root/data/tar/x-000.tar"
inside /opt/bin/headrace verify /data/tar/x-000.tar.gz
