#!/usr/bin/env bash
# Says clearly when the Swift toolchain is missing or too old.
set -euo pipefail

if ! command -v swift >/dev/null; then
    echo "There is no swift in PATH. Install Swift 6.2 or later: https://www.swift.org/install/linux" >&2
    exit 2
fi
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | head -n 1)
read -r major minor <<<"${version:-0 0}"
if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 2 ]; }; then
    echo "Swift $major.$minor is too old: this package needs 6.2 or later (https://www.swift.org/install/linux)" >&2
    exit 2
fi
