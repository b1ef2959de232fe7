#!/bin/sh
# Makes ./configure from a fresh checkout.
set -e
cd "$(dirname "$0")"
autoreconf --install --force
