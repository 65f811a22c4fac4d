#!/usr/bin/env bash
# Runs all tests twice: as if the machine had no io_uring, then with it.
set -euo pipefail
cd "$(dirname "$0")/.."

bash Scripts/toolchain.sh
bash Scripts/dependencies.sh
swift build --build-tests

echo "== All tests without io_uring"
HEADRACE_IO_URING=off swift test --skip-build --disable-xctest

echo "== A package that depends on Headrace by a version tag"
bash Scripts/dependent.sh

# Last, so that the last line counts all tests.
echo "== All tests"
swift test --skip-build --disable-xctest
