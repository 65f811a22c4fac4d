#!/usr/bin/env bash
# Runs the tests twice: as if the machine had no io_uring those that read files through the library, then all.
set -euo pipefail
cd "$(dirname "$0")/.."

bash Scripts/toolchain.sh
bash Scripts/dependencies.sh
swift build --build-tests

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Tests run side by side, so what failed stands far up: it is said again at the end.
run_tests() {
    if ! swift test --skip-build --disable-xctest "$@" 2>&1 | tee "$log"; then
        echo "== What failed"
        grep -E '✘|recorded an issue|Fatal error|error:' "$log" | tail -40
        return 1
    fi
}

echo "== Without io_uring: all tests but those of modules that never read by one"
HEADRACE_IO_URING=off run_tests --skip '^(CoreTests|FormatsTests|DecodeTests|ComputeTests|TiersTests|TidyTests)\.'

echo "== A package that depends on Headrace by a version tag"
bash Scripts/dependent.sh

# Last, so that the last line counts all tests.
echo "== All tests"
run_tests
