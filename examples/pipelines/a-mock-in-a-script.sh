#!/bin/bash
# SPDX-License-Identifier: ISC
# A mock cluster in a script, which goes on when the cluster is there.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

mkfifo a; kmock -t orders:1 >a & read -r b <a; kread -b "$b" -e orders
echo hello | kwrite -b "$b" --raw -t orders
[ "$(kread -b "$b" --raw -e orders)" = hello ]
stop $!
