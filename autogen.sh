#!/bin/sh
# SPDX-License-Identifier: ISC
# Makes ./configure from configure.ac; needed in a git checkout only, not in a release tarball.
cd "$(dirname "$0")" && exec autoreconf --install --force "$@"
