#!/usr/bin/env bash
# Writes the golden files anew from the built command (CKPT, or build/release/ckpt). Look at the
# difference before it is committed: git diff tests/golden
set -euo pipefail
exec python3 -B "$(dirname "$0")/golden.py" --update
