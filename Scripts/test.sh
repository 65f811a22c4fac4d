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

# Whatever reads by `pread` alone, or not at all, has nothing to show here.
modules='CoreTests|FormatsTests|DecodeTests|ComputeTests|TiersTests|TidyTests'
writing='Pack|Repack|SetDamage|ArraySource|IDXSource|TextSource|TableLine|TableQuote|NpzDecoder|ShardIndex|IndexFixture'
planning='Plan|NodeCache|MixtureTests|BucketingTests|EpochOrder|RankShare|RanksTests|ReadMerger|ShardShare|LoaderState'
echo "== Without io_uring: the tests that read by it elsewhere"
HEADRACE_IO_URING=off run_tests \
    --skip "^($modules)\\.|^HeadraceTests\\.($writing|$planning)|^ToolsTests\\.(Pack|Plan|Index|Training)"

echo "== A package that depends on Headrace by a version tag"
bash Scripts/dependent.sh

# Last, so that the last line counts all tests.
echo "== All tests"
run_tests
