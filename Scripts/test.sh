#!/usr/bin/env bash
# Runs all tests; before that, those that read files once more as if the machine had no io_uring.
set -euo pipefail
cd "$(dirname "$0")/.."

bash Scripts/toolchain.sh
bash Scripts/dependencies.sh
swift build --build-tests

echo "== Storage and pipeline without io_uring"
HEADRACE_IO_URING=off swift test --skip-build --disable-xctest --filter '^(StorageTests|HeadraceTests)\.'

echo "== A package that depends on Headrace by a version tag"
bash Scripts/dependent.sh

# Last, so that the last line counts all tests.
echo "== All tests"
swift test --skip-build --disable-xctest
