#!/bin/sh
# Programs of other people that some tests run beside ours: the stock age tool, Chromium, a false clock, readers of PDF,
# JavaScript libraries, the Solidity compiler, the node anvil.
# Installed where that can be done without asking; elsewhere their tests say why they are skipped.
set -u
here=$(dirname "$0")

missing=""
command -v age >/dev/null 2>&1 || missing="$missing age"
command -v faketime >/dev/null 2>&1 || missing="$missing faketime"
command -v pdftotext >/dev/null 2>&1 || missing="$missing poppler-utils"
[ -x /usr/bin/chromium ] || missing="$missing chromium"
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing for the tests:$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    said=$({ apt-get update && apt-get install --yes --no-install-recommends $missing; } 2>&1) \
        || echo "could not install$missing; tests that need them are skipped: $(echo "$said" | tail -n 1)" >&2
fi

for node in "$here/interop/node" "$here/../chain/contracts/node"; do
    if [ -f "$node/package-lock.json" ] && command -v npm >/dev/null 2>&1; then
        if [ ! -f "$node/node_modules/.package-lock.json" ] \
            || [ "$node/package-lock.json" -nt "$node/node_modules/.package-lock.json" ]; then
            npm ci --ignore-scripts --no-audit --no-fund --silent --prefix "$node" >&2 \
                || echo "could not install JavaScript libraries; tests that need them are skipped" >&2
        fi
    fi
done
exit 0
