#!/usr/bin/env bash
# Runs the tests under a sanitizer: Scripts/sanitize.sh [thread|address]; both without an argument.
#
# Left out are tests that say nothing here: those that run the built tools as processes, those that limit the
# memory of a process (the sanitizers reserve terabytes), and under the thread sanitizer whatever has one thread.
set -euo pipefail
cd "$(dirname "$0")/.."

bash Scripts/toolchain.sh
bash Scripts/dependencies.sh

run() {
    local kind=$1 scratch=.build-$1
    shift
    echo "== Build with the $kind sanitizer"
    swift build --build-tests --sanitize="$kind" --scratch-path "$scratch"
    echo "== Tests with the $kind sanitizer"
    swift test --skip-build --sanitize="$kind" --scratch-path "$scratch" --disable-xctest "$@"
}

threads() {
    TSAN_OPTIONS=halt_on_error=1 run thread \
        --filter 'LockTests|SlabPool|Reader|EngineTests|Loader|PackTests|PackFault|PackResume|RepackTests|SetDamage|ShardIndexer|ShardIndexSet' \
        --skip 'CodecLoaderTests|ToolsTests|largePayloadsAreStreamed|rowsOfOneByteAreRefusedByTheHeader'
}

addresses() {
    # The runtime keeps its caches to the end, which the leak detector takes for leaks.
    ASAN_OPTIONS=detect_leaks=0 run address --skip 'ToolsTests|TidyTests|CodecMemoryTests|largePayloadsAreStreamed|rowsOfOneByteAreRefusedByTheHeader'
}

case ${1:-all} in
    thread) threads ;;
    address) addresses ;;
    all)
        threads
        addresses
        ;;
    *)
        echo "usage: sanitize.sh [thread|address]" >&2
        exit 64
        ;;
esac
