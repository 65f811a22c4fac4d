#!/usr/bin/env bash
# Fuzzes one parser, or all in turn, with libFuzzer: Scripts/fuzz.sh [TARGET|all] [RUNS]
#
# Starts from the files of HEADRACE_FIXTURES (or ../shared/fixtures) and from what the tools write; what the fuzzer
# learns is kept in .build-fuzz/corpus. FUZZ_SANITIZER=address adds the address sanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-all}
runs=${2:-10000000}
fixtures=${HEADRACE_FIXTURES:-../shared/fixtures}
scratch=.build-fuzz${FUZZ_SANITIZER:+-$FUZZ_SANITIZER}

# A trap must reach libFuzzer, which keeps the input.
export HEADRACE_FUZZ=1 SWIFT_BACKTRACE=enable=no
swift build -c release --sanitize=fuzzer ${FUZZ_SANITIZER:+--sanitize="$FUZZ_SANITIZER"} \
    --scratch-path "$scratch" --product headrace-fuzz
fuzzer=$(swift build -c release --scratch-path "$scratch" --show-bin-path)/headrace-fuzz

# The fuzzer's inputs begin with a byte of flags: each seed is put in with two of them.
add_seeds() {
    local folder=$1 file count=0
    shift
    for file in "$@"; do
        [ -f "$file" ] && [ "$(stat -c %s "$file")" -le 16384 ] || continue
        count=$((count + 1))
        { printf '\0'; cat "$file"; } >"$folder/seed-$count-plain"
        { printf '\135'; cat "$file"; } >"$folder/seed-$count-mended"
    done
}

small_set() {
    local folder=$1 index
    mkdir -p "$folder/src" "$folder/jpeg"
    for index in 1 2 3; do
        printf 'caption %s' $index >"$folder/src/$index.txt"
        printf '%s' $index >"$folder/src/$index.cls"
        printf '{"a": [%s, 1.5e3, "\\u00e9"], "b": {"c": null}}' $index >"$folder/src/$index.json"
    done
    env -u HEADRACE_FUZZ swift build --product headrace >/dev/null
    headrace=$(env -u HEADRACE_FUZZ swift build --show-bin-path)/headrace
    for ending in tar tar.zst tar.lz4 tfrecord; do
        "$headrace" pack "$folder/src" -o "$folder/$ending/x-%d.$ending" --shard-count 2 -q >/dev/null
    done
    "$headrace" index "$folder"/tar/x-*.tar "$folder"/tfrecord/x-*.tfrecord --export dali -q >/dev/null
    gzip -k "$folder/tar/x-0.tar"
    python3 -c 'import sys, zlib; sys.stdout.buffer.write(zlib.compress(open(sys.argv[1], "rb").read()))' \
        "$folder/tar/x-0.tar" >"$folder/x.zlib" || true
}

seeds() {
    local folder=$scratch/corpus/$1 set=$2
    mkdir -p "$folder"
    case $1 in
        tar) add_seeds "$folder" "$set"/tar/*.tar "$fixtures"/tar/*/* ;;
        tfrecord | example) add_seeds "$folder" "$set"/tfrecord/*.tfrecord "$fixtures"/tfrecord/*/* ;;
        sniffer) add_seeds "$folder" "$set"/*/x-0.* "$fixtures"/dataset/*/* ;;
        json | jsontext) add_seeds "$folder" "$set"/src/*.json "$set"/tar/.headrace/manifest.json ;;
        manifest) add_seeds "$folder" "$set"/*/.headrace/manifest.json ;;
        index) add_seeds "$folder" "$set"/*/.headrace/*.index ;;
        state)
            cat >"$set/state.json" <<'JSON'
{"data": {"bytes": 10, "count_hash": "8b7f74c9d91e6c7d", "groups": "f21e7dc1", "hash": "135ae1a0f21e7dc1",
"samples": 2, "shards": 1}, "epoch": 7, "local": {"digest": null, "rank": 1, "set_digest": "00000000000000ff",
"stream": {"block": 1, "position_in_block": 2, "lanes": [{"shard": 0, "ordinal": 1, "offset": 512}, null]}},
"options": {"seed": "1"}, "options_hash": "ef36082d0ee4eb86", "plan_version": 1, "position": 1504,
"schema": "headrace.state/1", "segments": [{"batch": 16, "start": 0, "world_size": 8},
{"batch": 16, "start": 1024, "world_size": 3}], "walk": "indexed"}
JSON
            add_seeds "$folder" "$set/state.json" ;;
        dali) add_seeds "$folder" "$set"/*/*.idx ;;
        zip) add_seeds "$folder" "$set"/*.npz "$fixtures"/npy/*/*.npz ;;
        zlib) add_seeds "$folder" "$set"/x.zlib "$fixtures"/zlib/*/* ;;
        gzip) add_seeds "$folder" "$set"/tar/*.gz "$fixtures"/gzip/*/* ;;
        croppable) add_seeds "$folder" "$fixtures"/jpeg/*/* ;;
        intervals)
            for file in "$fixtures"/jpeg/*/*; do
                [ "$(stat -c %s "$file")" -gt 16384 ] || cp "$file" "$set/jpeg/$(basename "$file").jpg"
            done
            "$headrace" pack "$set/jpeg" -o "$set/ready-%d.tar" --jpeg crop-ready -q --on-defect skip >/dev/null
            mkdir -p "$set/ready"
            tar -xf "$set/ready-0.tar" -C "$set/ready"
            add_seeds "$folder" "$set"/ready/* ;;
        lz4 | zstd) add_seeds "$folder" "$set"/tar."${1/zstd/zst}"/x-* "$fixtures/$1"/*/* ;;
        *) add_seeds "$folder" "$fixtures/$1"/*/* ;;
    esac
}

set=$(mktemp -d)
trap 'rm -rf "$set"' EXIT
small_set "$set"
targets=$target
[ "$target" = all ] && targets=$(sed -n 's/^    "\([a-z0-9]*\)": fuzz.*/\1/p' Tests/Fuzz/Targets.swift)
found=()
for each in $targets; do
    seeds "$each" "$set"
    echo "== $each: $runs runs"
    # What is found in one target must not keep the others from running.
    HEADRACE_FUZZ_TARGET=$each "$fuzzer" -runs="$runs" -max_len=4096 -len_control=0 -print_final_stats=1 \
        -artifact_prefix="$scratch/$each-" "$scratch/corpus/$each" 2>&1 | tail -n "${FUZZ_LINES:-8}" \
        || found+=("$each")
done
if [ ${#found[@]} -gt 0 ]; then
    echo "fuzz: something was found in: ${found[*]} (see $scratch)" >&2
    exit 1
fi
