#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What a release is made of, as far as seconds tell: packaging/check tries the rest.

# bats file_tags=once
load helpers

# Nothing of an outer make is to reach ours.
setup() {
	harness_setup
	unset MAKEFLAGS MAKELEVEL DESTDIR
}

@test "a release has every file of the tree, and is the same bytes at another time and with another umask" {
	make -s -C "$EVPIPE_BUILD" distdir distdir="$T/one"
	(cd one && find . -type f | sed 's,^\./,,' | LC_ALL=C sort) >in-release
	"$ROOT/tests/lint/files" | grep -vxE '\.ci/.*|\.gitignore' | LC_ALL=C sort >in-tree
	run -0 comm -23 in-tree in-release
	[ -z "$output" ]
	grep -qx configure in-release
	run ! grep -E '__pycache__|\.o$|\.work/' in-release

	mkdir a b
	mv one a/evpipe
	(umask 077 && cp -r a/evpipe b/evpipe)
	export SOURCE_DATE_EPOCH=1700000000
	(cd a && "$ROOT/packaging/tarball" evpipe) >a.tar
	(cd b && umask 077 && "$ROOT/packaging/tarball" evpipe) >b.tar
	cmp a.tar b.tar
	tar -tvf a.tar >listing
	grep -q '^-rwxr-xr-x 0/0 .* 2023-11-14 .*evpipe/tests/run$' listing
	# Without git and without a time it is as old as its configure.ac.
	unset SOURCE_DATE_EPOCH
	touch -d '2024-02-03 04:05:06 UTC' a/evpipe/configure.ac
	(cd a && TZ=UTC evpipe/packaging/tarball evpipe | TZ=UTC tar -tvf -) >listing
	grep -q ' 2024-02-03 .*evpipe/README.md$' listing
	# What a build leaves in there is none of its files, or its own tests/run would be red.
	a/evpipe/tests/lint/files >before
	(cd a/evpipe && mkdir -p tools/bin lib/base/.deps && touch Makefile config.log stamp-h1 tools/bin/kread lib/base/.deps/num.Po \
		lib/base/num.o lib/base/.dirstamp tests/unit/test-num tests/unit/test-num.trs tools/evsse/page.inc)
	a/evpipe/tests/lint/files | cmp - before
}

@test "make install puts programs, pages and completions in their places, and make uninstall leaves nothing" {
	make -s -C "$EVPIPE_BUILD" install DESTDIR="$T/root" prefix=/usr >install.log 2>&1
	for program in "$EVPIPE_BUILD"/tools/bin/*; do
		program=${program##*/}
		[ -x "root/usr/bin/$program" ]
		[ -f "root/usr/share/man/man1/$program.1" ]
		[ -f "root/usr/share/bash-completion/completions/$program" ]
		[ -f "root/usr/share/fish/vendor_completions.d/$program.fish" ]
	done
	[ -f root/usr/share/zsh/site-functions/_evpipe ]
	[ -f root/usr/share/man/man7/evpipe-ack.7 ]
	make -s -C "$EVPIPE_BUILD" uninstall DESTDIR="$T/root" prefix=/usr >uninstall.log 2>&1
	# Directories that all programs share stay, since nobody knows who made them.
	run -0 find root ! -type d -o -name '*evpipe*'
	[ -z "$output" ]
}

@test "the demo of an installed evpipe: no source beside it, the programs of PATH" {
	cp -r "$ROOT/examples" .
	run -0 timeout 400 examples/demo
	[ "$(grep -c 'byte for byte, each once$' <<<"$output")" -ge 4 ]
	PATH=/usr/bin:/bin run -100 examples/demo
	[[ $output == *'is not installed'* ]]
}
