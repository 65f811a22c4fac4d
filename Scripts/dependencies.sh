#!/usr/bin/env bash
# Sees to it that the system libraries are there. Calls apt only when something is missing, and says so first.
set -euo pipefail

# Without pkg-config none of them can be found, here or by the build.
has_library() {
    command -v pkg-config >/dev/null && pkg-config --exists "$1"
}

missing=()
command -v pkg-config >/dev/null || missing+=(pkg-config)
has_library liburing || missing+=(liburing-dev)
has_library libzstd || missing+=(libzstd-dev)
has_library liblz4 || missing+=(liblz4-dev)
has_library zlib || missing+=(zlib1g-dev)
has_library libjpeg || missing+=(libjpeg-dev)
has_library libpng || missing+=(libpng-dev)
# The programs are the tests' second opinion, not a part of the library.
command -v zstd >/dev/null || missing+=(zstd)
command -v lz4 >/dev/null || missing+=(lz4)
[ ${#missing[@]} -eq 0 ] && exit 0

by_hand() {
    echo "$1 Install them by hand:" >&2
    echo "  Debian, Ubuntu: apt-get install pkg-config liburing-dev libzstd-dev liblz4-dev zlib1g-dev libjpeg-dev libpng-dev zstd lz4" >&2
    echo "  Fedora, RHEL:   dnf install pkgconf-pkg-config liburing-devel libzstd-devel lz4-devel zlib-devel libjpeg-turbo-devel libpng-devel zstd lz4" >&2
    exit 2
}

echo "Missing on this machine: ${missing[*]}" >&2
command -v apt-get >/dev/null || by_hand "There is no apt-get here."
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || by_hand "Installing needs root, and there is no sudo here."
    as_root=(sudo env DEBIAN_FRONTEND=noninteractive)
fi
echo "Installing them with ${as_root[0]:+sudo }apt-get" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq || echo "apt-get update failed; trying with the lists there are" >&2
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 \
    || by_hand "apt-get could not install them."
