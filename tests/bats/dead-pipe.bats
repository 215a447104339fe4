#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Dead letters into a pipe, which keeps nothing: somebody has to read it.

load helpers

# feed FILE: an evkey with dead letters there, fed through descriptor 7.
feed() {
	mkfifo in
	spawn it sh -c 'exec evkey .k --dead-letter "$0" <in' "$1"
	exec 7>in
}

@test "a pipe whose reader is there gets the letters" {
	mkfifo pipe
	spawn reader cat pipe
	run -1 --separate-stderr evkey .k --dead-letter pipe <<<'no record'
	wait_exit reader
	[ "$(jq -r .line reader.out)" = "no record" ]
}

@test "a pipe whose reader has gone ends the program with 111, and nothing counts as kept" {
	mkfifo pipe
	spawn reader head -n 1 pipe
	feed pipe
	echo one >&7
	wait_exit reader
	grep -q one reader.out
	echo two >&7
	wait_exit it
	[ "$status" -eq 111 ]
	grep -q "^evkey: cannot write to the dead-letter file 'pipe': Broken pipe" it.err
}

# bats test_tags=once
@test "a pipe that nobody reads is no place for a letter, from the start or in a file's place" {
	mkfifo pipe
	spawn start sh -c 'exec evkey .k --dead-letter pipe </dev/null'
	touch file
	feed file
	echo one >&7
	wait_lines file 1
	mv file kept
	mkfifo file
	echo two >&7
	wait_exit it
	[ "$status" -eq 111 ]
	grep -q "^evkey: nobody reads the pipe 'file', which is to take dead letters" it.err
	wait_exit start
	[ "$status" -eq 111 ]
}
