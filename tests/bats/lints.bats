#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The lints themselves: each passes on the tree, which tests/run sees, and fails on a breach put there on
# purpose, in a copy, and names it.

# bats file_tags=once
load helpers

setup() {
	harness_setup
	# A release has no .git, and the lints then look at all files there are.
	mkdir copy
	# shellcheck disable=SC2046 # file names without blanks
	(cd "$ROOT" && tar -cf - $(tests/lint/files | grep -vE '^(bench|tests/(fuzz/corpus|faults|model))/')) | tar -xf - -C copy
}

# sees LINT TEXT…: the lint of the copy fails, and each of these stands in a line of what it says.
sees() {
	local lint=$1 text
	shift
	run -1 "copy/tests/lint/$lint"
	echo "$output"
	for text in "$@"; do
		grep -qF -e "$text" <<<"$output"
	done
}

# include FILE HEADER: puts the line in.
include() {
	sed -i "1a#include $2" "copy/$1"
}

@test "rooms: nothing in the tree, and each breach by its name" {
	run -0 copy/tests/lint/rooms
	include lib/base/num.c '"ack/label.h"'
	include lib/base/buf.c '"num.h"'
	include lib/redis/client.c '"kafka/kafka.h"'
	include lib/jq/expr.c '"record/record.h"'
	include lib/record/template.c '"json/json-block.h"'
	include lib/flow/dead.c '<librdkafka/rdkafka.h>'
	include lib/ack/label.c '"kwrite/kwrite.h"'
	include tools/evkey.c '"evbatch/evbatch.h"'
	include tools/evack.c '<jq.h>'
	mkdir copy/lib/attic
	echo '/* SPDX-License-Identifier: ISC */' >copy/lib/attic/attic.c
	sees rooms 'lib/base/num.c: base must not include "ack/label.h"' \
		'lib/base/buf.c: "num.h" does not name its room' \
		'lib/redis/client.c: redis must not include "kafka/kafka.h"' \
		'lib/jq/expr.c: jq must not include "record/record.h"' \
		'lib/record/template.c: "json/json-block.h" is for its own room' \
		'lib/flow/dead.c: must not include <librdkafka/rdkafka.h>' \
		'lib/ack/label.c: "kwrite/kwrite.h" is of another program' \
		'tools/evkey.c: "evbatch/evbatch.h" is of another program' \
		'tools/evack.c: must not include <jq.h>' \
		"lib/attic/attic.c: the room 'attic' is not in HACKING.md's table"
}

@test "rooms: a call that no include shows, and a library that is linked" {
	mkdir -p build/lib/base build/lib/kafka build/tools/bin
	echo 'void kafka_x(void); void buf_x(void) { kafka_x(); }' >buf.c
	echo 'void kafka_x(void) {}' >kafka.c
	"${CC:-cc}" -c -o build/lib/base/libevpipe_a-buf.o buf.c
	"${CC:-cc}" -c -o build/lib/kafka/libevpipe_a-kafka.o kafka.c
	for program in "$EVPIPE_BUILD"/tools/bin/*; do
		ln -s "$program" build/tools/bin/
	done
	ln -sf "$EVPIPE_BUILD/tools/bin/kread" build/tools/bin/evkey
	EVPIPE_BUILD=$T/build sees rooms 'lib/base: must not use kafka_x() of lib/kafka' 'evkey: links librdkafka'
}

@test "options, pages and examples: what one place has and another has not" {
	sed -i '/^\.It Fl -null-ok/d' copy/man/evkey.1
	sed -i '/^\.It .*-metrics/i.It Fl -imagined' copy/man/evsel.1
	sed -i 's/\bevstamp\b/evstomp/g' copy/completions/*
	sed -i 's/\blz4\b/lz5/' copy/completions/complete
	sees options 'for --null-ok of evkey' '--imagined' 'evstamp is not among the filters' 'offers lz5 for kwrite'
	sed -i '/^\.Sh SIGNALS/d' copy/man/rpub.1
	rm copy/man/rsub.1
	printf '.Ss In a word\n.Ql one , two\n.Ar : Ns Ar PORT\n' >>copy/man/evsel.1
	sed -i 's/evpipe_kept_events/evpipe_events/' copy/man/evsse.1
	sed -i '/WATCHDOG_USEC/d' copy/man/evpipe.1
	sees pages 'looks at WATCHDOG_USEC, which no page names' 'evpipe_kept_events, which no page names' "shows 'file ...'" 'heading for a macro: .Ss In a word' 'several things: .Ql one , two' 'man/rpub.1: has no section SIGNALS' 'has nothing for rsub of bin_PROGRAMS'
	rm copy/examples/pipelines/key-of-two-fields.sh
	sees examples evkey
}

@test "sizes, spdx and hosts: a long tool, a file without a licence, a path of one machine" {
	yes '/* long */' | head -n 500 >>copy/tools/evkey.c
	sees sizes 'tools/evkey.c: has '
	echo 'echo' >copy/tests/lint/new
	sees spdx "tests/lint/new: has no line"
	echo "path = /ro""ot/x" >>copy/examples/data.txt
	sees hosts 'examples/data.txt: names a directory of one machine'
}

@test "format and shellcheck: C that is not formatted, a shell script and a bats file with a finding" {
	mkdir -p small/tests
	cp -r copy/tests/lint small/tests/
	cp copy/.clang-format small/
	rm -r copy
	mv small copy
	printf '/* SPDX-License-Identifier: ISC */\nint  x;\n' >copy/a.c
	sees format 'a.c:2'
	# shellcheck disable=SC2016 # for the copy
	printf '#!/bin/sh\necho $1\n' >copy/a
	sees shellcheck 'In a line 2'
	# shellcheck disable=SC2016
	printf '#!/usr/bin/env bats\n@test "a" {\n\techo $1\n}\n' >copy/a.bats
	rm copy/a
	sees shellcheck 'In a.bats line 3'
}

@test "version: a release that one place does not know of, another day, another maintainer" {
	sed -i 's/^\(AC_INIT(\[evpipe\], \[\).*\])$/\17.8.9])/' copy/configure.ac
	sed -i 's/^Maintainer: .*/Maintainer: Somebody <a@b>/' copy/debian/control
	sed -i '1,/^ -- /s/\(^ -- .*>  \).*/\1Fri, 07 Jan 2000 12:00:00 +0000/' copy/debian/changelog
	sed -i '0,/image: /s/\(image: .*evpipe\):.*/\1/' copy/examples/kubernetes/bridge.yaml
	sees version 'NEWS: has version ' 'debian/changelog: has version ' 'evpipe.spec: has version ' '%changelog: has version ' \
		'APKBUILD: has version ' 'bridge.yaml: has version none, and configure.ac 7.8.9' 'applier.yaml: has version ' 'khttp.yaml: has version ' \
		'openapi.json: has version ' 'debian/changelog of Fri Jan 07 2000' 'debian/control: is maintained by Somebody'
	sed -i '/^## /d' copy/NEWS
	sees version 'NEWS: has no line like'
}
