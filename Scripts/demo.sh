#!/usr/bin/env bash
# From a real data set to a trained network: packs it, verifies it, reads shuffled epochs, shows that what is delivered
# depends on neither the I/O engine nor the number of workers, and trains a small network, which is killed on the way
# and goes on. Everything it writes is under data/.
#
# DEMO_DATASET=local uses files of this machine and touches no package manager.
# DEMO_SECONDS is how long the measured read takes (default 5).
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${DEMO_SECONDS:-5}
data=data/demo

step() { printf '\n== %s\n' "$1"; }
say() { printf '%s\n' "$1"; }

fail() {
    printf 'demo: %s\n' "$1" >&2
    exit "${2:-1}"
}

build() {
    step "Build (release)"
    bash Scripts/toolchain.sh
    bash Scripts/dependencies.sh
    swift build -c release
    local binaries
    binaries=$(swift build -c release --show-bin-path)
    headrace=$binaries/headrace
    pipebench=$binaries/pipebench
    trainer=$binaries/fashion-train
}

# --- The data set -----------------------------------------------------------------------------------------------

package=dataset-fashion-mnist
installed=/usr/share/datasets/fashion-mnist

complete() { [ -r "$1/train-images-idx3-ubyte.gz" ] && [ -r "$1/t10k-labels-idx1-ubyte.gz" ]; }

install_package() {
    [ "$(id -u)" -eq 0 ] || return 1
    say "installing the package $package (Debian) with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$package" >"$data/apt.log" 2>&1 && return 0
    apt-get update -qq >>"$data/apt.log" 2>&1 || return 1
    apt-get install -y -qq --no-install-recommends "$package" >>"$data/apt.log" 2>&1
}

# Needs no root: the package is unpacked below data/ and nothing is installed.
download_package() {
    command -v dpkg >/dev/null || return 1
    say "downloading the package $package and unpacking it in $data, since it cannot be installed"
    local folder
    folder=$(mktemp -d "$data/package.XXXXXX")
    (cd "$folder" && apt-get download -qq "$package" >>../apt.log 2>&1) || return 1
    dpkg -x "$folder"/*.deb "$folder/files" || return 1
    rm -rf "$data/package"
    mv "$folder" "$data/package"
}

# Sets `source` to the files to pack, `fields` to what the loader decodes, `name` to what they are called.
find_source() {
    step "Data set"
    mkdir -p "$data"
    if [ "${DEMO_DATASET:-}" = local ]; then
        find_local "as asked for"
        return
    fi
    local unpacked=$data/package/files$installed
    if complete "$installed"; then
        say "Fashion-MNIST is installed in $installed"
        unpacked=$installed
    elif complete "$unpacked"; then
        say "Fashion-MNIST was downloaded before: reusing $unpacked"
    elif ! command -v apt-get >/dev/null; then
        find_local "there is no apt-get here that could bring $package"
        return
    elif install_package && complete "$installed"; then
        unpacked=$installed
    elif ! { download_package && complete "$unpacked"; }; then
        find_local "apt-get cannot bring $package (see $data/apt.log)"
        return
    fi
    source=("$unpacked"/train-images-idx3-ubyte.gz "$unpacked"/train-labels-idx1-ubyte.gz
        "$unpacked"/t10k-images-idx3-ubyte.gz "$unpacked"/t10k-labels-idx1-ubyte.gz)
    fields=(--decode npy=npy --integer cls)
    images=$unpacked
    name=fashion-mnist
    say "70,000 images of 28 x 28 pixels (60,000 to train, 10,000 to test) with their classes: ${source[0]%/*}"
}

# What nearly every Linux machine has; the first folder with enough in it.
find_local() {
    local folder size
    for folder in /usr/include /usr/lib/python3 /usr/lib/python3.* /usr/share/doc /usr/share; do
        [ -d "$folder" ] && [ -r "$folder" ] || continue
        size=$(du -sk "$folder" 2>/dev/null | cut -f 1)
        [ "${size:-0}" -ge 4096 ] || continue
        source=("$folder")
        fields=()
        name=files
        say "$1: packing the files of $folder instead ($((size / 1024)) MB; each group of one stem is a sample)"
        return
    done
    fail "$1, and no folder of this machine has enough files to stand in" 2
}

# --- Shards -----------------------------------------------------------------------------------------------------

# $1: folder below data/demo; $2: ending of the shards. Sets `packed` to the pattern to read them with.
pack_and_verify() {
    local folder=$data/$name/$1
    local verdict
    packed="$folder/$name-*.$2"
    if [ -f "$folder/.headrace/manifest.json" ]; then
        if verdict=$("$headrace" verify --quiet "$folder"); then
            say "$1: reusing the shards of an earlier run, every checksum of which was verified just now:"
            say "${verdict%%$'\n'*}"
            return
        fi
        say "$1: the shards of an earlier run are not intact (${verdict%%$'\n'*}): packing them again"
        rm -rf "$folder"
    fi
    mkdir -p "$folder"
    # Small shards, so that several can be read in turn even from a small data set. What an interrupted run left
    # has no manifest and is replaced.
    "$headrace" pack "${source[@]}" -o "$folder/$name-%03d.$2" --shard-size 16MiB --overwrite
    verdict=$("$headrace" verify "$folder") || fail "what was packed does not verify: $verdict"
    say "${verdict%%$'\n'*}"
}

# --- Reading ----------------------------------------------------------------------------------------------------

# The flags that decide what is delivered; all others only change how fast.
read_shards() {
    "$pipebench" read "$@" ${fields[0]+"${fields[@]}"} --shuffle buffer:4096 --seed 42
}

digest_of() { grep -o "\"$1\":\"[0-9a-f]*\"" | tail -n 1 | cut -d '"' -f 4; }

measure() {
    step "Shuffled epochs through the loader, about $seconds s each: .tar.zst"
    read_shards "$tar" --epochs 100000 --time "${seconds}s"
    step "The same from TFRecord"
    read_shards "$tfrecord" --example --epochs 100000 --time "${seconds}s" | sed -n '1,6p'
}

compare_digests() {
    step "One shuffled epoch with each I/O engine and 1, 2 and 4 workers: what is delivered, and in what order"
    local engine workers line digest first="" set first_set=""
    for engine in pread uring; do
        for workers in 1 2 4; do
            if ! line=$(read_shards "$tar" --engine "$engine" --workers "$workers" --digest --json --quiet \
                2>"$data/read.log"); then
                # A container may forbid io_uring; then there is one engine to compare.
                if [ "$engine" = uring ] && grep -q ringRefused "$data/read.log"; then
                    say "uring            not available here: $(cat "$data/read.log")"
                    break
                fi
                cat "$data/read.log" >&2
                fail "reading failed"
            fi
            digest=$(digest_of digest <<<"$line")
            set=$(digest_of set_digest <<<"$line")
            say "$(printf '%-6s %s workers  %s' "$engine" "$workers" "$digest")"
            first=${first:-$digest}
            first_set=${first_set:-$set}
            [ -n "$digest" ] && [ "$digest" = "$first" ] || fail "the order differs: $digest is not $first"
        done
    done
    say "All equal."
    set=$(read_shards "$tfrecord" --example --digest --json --quiet | digest_of set_digest)
    [ "$set" = "$first_set" ] || fail "TFRecord delivers other samples: $set is not $first_set"
    say "TFRecord holds the same samples as .tar.zst: set digest $set from both."
}

# --- Training -------------------------------------------------------------------------------------------------------

# The images to train with and those to test with, each in shards of their own; a network in plain Swift that takes
# batches from the loader; killed when it has saved its first checkpoint, and started again.
train_network() {
    step "Train a network on the shards (Examples/FashionTrain), kill it, and go on"
    local part saved=$data/$name/train.checkpoint
    for part in train t10k; do
        [ -f "$data/$name/$part/.headrace/manifest.json" ] && continue
        "$headrace" pack "$images/$part"-*-ubyte.gz -o "$data/$name/$part/$part-%03d.tar.zst" \
            --shard-size 8MiB --overwrite --quiet
    done
    local arguments=("$data/$name/train" "$data/$name/t10k" --checkpoint "$saved")
    rm -f "$saved"
    "$trainer" "${arguments[@]}" &
    local process=$!
    while [ ! -f "$saved" ] && kill -0 "$process" 2>/dev/null; do sleep 0.1; done
    if kill -9 "$process" 2>/dev/null; then say "killed (SIGKILL); starting it again"; fi
    wait "$process" 2>/dev/null || true
    local accuracy
    "$trainer" "${arguments[@]}" | tee "$data/train.log"
    accuracy=$(sed -n 's/^test accuracy \([0-9]*\).*/\1/p' "$data/train.log")
    [ "${accuracy:-0}" -ge 87 ] || fail "the network came to ${accuracy:-no accuracy} %, and 87 % are to be had" 1
}

started=$SECONDS
build
begun=$SECONDS
find_source
step "Pack, and verify every checksum, count and size"
pack_and_verify tar-zst tar.zst
tar=$packed
pack_and_verify tfrecord tfrecord
tfrecord=$packed
measure
compare_digests
if [ "$name" = fashion-mnist ]; then train_network; fi
step "Done"
say "$((SECONDS - begun)) s after a build of $((begun - started)) s. The shards are in $data/$name; read them with"
say "  $pipebench read '$tar' --shuffle buffer:4096 ${fields[*]-}"
