# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# What mistakes.bats and mistakes-servers.bats share.

# table: rows of three lines from standard input: the command line, its exit status, and words that its messages must
# have, separated by two blanks. All rows are tried; those that are wrong are printed.
table() {
	local command status words word got wrong=0
	while IFS= read -r command && IFS= read -r status && IFS= read -r words; do
		got=0
		timeout -s KILL 100 bash -c "$command" >out 2>err </dev/null || got=$?
		[ "$got" -eq "$status" ] || { echo "$command: status $got, not $status"; wrong=1; }
		while IFS= read -r word; do
			grep -qF -e "$word" err || { echo "$command: nothing of '$word' in:"; cat err; wrong=1; }
		done <<<"${words//  /$'\n'}"
	done
	[ "$wrong" -eq 0 ]
}
