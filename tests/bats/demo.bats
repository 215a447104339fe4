#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The demonstration which the README names first.

load helpers

# It builds by itself, so a sanitized build has no part in it.
# bats test_tags=load
@test "the demo ends with 0 and says of all that arrived: byte for byte, each once" {
	mkdir tree
	# A tree of its own: other tests look at what is in $ROOT.
	"$ROOT/tests/lint/files" | tar -C "$ROOT" -cf - -T - | tar -C tree -xf -
	run -0 timeout 400 tree/examples/demo
	[ "$(grep -c 'byte for byte, each once$' <<<"$output")" -ge 4 ]
	[[ $output != *WRONG* ]]
}

# commands FILE: what is typed in a picture of a terminal.
commands() {
	python3 - "$1" <<-'EOP'
	import sys, xml.etree.ElementTree as tree
	for text in tree.parse(sys.argv[1]).getroot().iter("{http://www.w3.org/2000/svg}text"):
	    if text.get("font-weight") == "bold" and " " in text.text and text.text.strip()[0].islower():
	        print(text.text)
	EOP
}

@test "README's picture of a terminal is made anew, of the same commands, and none of them fails" {
	"$ROOT/tests/bats/terminal" picture.svg
	commands picture.svg >typed
	[ "$(wc -l <typed)" -ge 5 ]
	diff <(commands "$ROOT/examples/terminal.svg") typed
	grep -qF 'orders/0@19' picture.svg
	grep -qF 'topics are operands' picture.svg
	grep -qF 'evpipe: kwrite: exit 0' picture.svg
	grep -qF 'copy-of-orders/0' picture.svg
}
