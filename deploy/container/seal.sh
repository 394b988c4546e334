#!/bin/sh
# Makes a virtual environment the same, byte for byte, however often it is built from the same wheels: bytecode by the content of
# its source and not by the time at which pip unpacked it, and one time stamp on everything.
#
#   seal.sh DIR        SOURCE_DATE_EPOCH is the time stamp, 0 unless set
set -eu
find "$1" -name __pycache__ -type d -prune -exec rm -rf {} +
# A library may carry files that this Python cannot compile; pip passes over them as well.
PYTHONHASHSEED=0 "$1/bin/python" -m compileall -qq -j 1 --invalidation-mode unchecked-hash "$1/lib" || true
find "$1" -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH:-0}" {} +
