#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Completions of bash, zsh and fish, of the built programs.

# bats file_tags=once
load helpers
load completion

programs='kread kwrite kcheck khttp kmock rsub rpub rapply evstamp evkey evsel evbatch evack evfmt evsse evreplay evtop'

# complete_bash WORD…: what bash would offer for the last word.
complete_bash() {
	bash -c '
		source "$ROOT/completions/evpipe.bash"
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		_evpipe "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
		printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}

# The options as --help has them, taken another way than the completions do.
options_of() {
	"$1" --help | sed '/^Examples:/,$d' | grep '^  *-' | grep -oE -- '^ +-[a-zA-Z0-9]\b|--[a-z-]+[a-z]' |
		sed '/^ /s/ //g' | sort -u
}

@test "bash offers each option of each program" {
	for program in $programs; do
		complete_bash "$program" - | sed 's/=$//' | sort -u >offered
		options_of "$program" >expected
		grep -q -- --help expected
		# A name in a description is not an option.
		comm -23 expected offered >missing
		while IFS= read -r option; do
			run ! grep -qE -- "^ +(-., )?$option\b" <("$program" --help)
		done <missing
	done
}

@test "bash completes a long option and says that it takes a value" {
	[ "$(complete_bash evkey --null)" = --null-ok ]
	[ "$(complete_bash evkey --dead)" = --dead-letter= ]
	[ -z "$(complete_bash evkey --nothing-like-it)" ]
}

@test "bash completes the values of an option" {
	[ "$(complete_bash evkey --on-error '')" = $'stop\nskip' ]
	[ "$(complete_bash evkey --on-error = sk)" = skip ]
	[ "$(complete_bash evkey --on-error =)" = $'stop\nskip' ]
}

@test "bash completes a file where one is meant, and nowhere else" {
	: >a-file
	[ "$(complete_bash evkey --metrics = a-)" = a-file ]
	[ "$(complete_bash evkey --metrics a-)" = a-file ]
	[ -z "$(complete_bash evkey a-)" ]
	[ -z "$(complete_bash evkey -- --nu)" ]
}

@test "fish offers each option of each program" {
	for program in $programs; do
		complete_bash "$program" - | sort -u >expected
		complete_fish "$program -" | sort -u >offered
		diff expected offered
	done
}

@test "fish completes values and files" {
	: >a-file
	[ "$(complete_fish 'evkey --null')" = --null-ok ]
	[ "$(complete_fish 'evkey --on-error=sk')" = --on-error=skip ]
	[ "$(complete_fish 'evkey --on-error s' | sort)" = $'skip\nstop' ]
	[ "$(complete_fish 'evkey --metrics=a-')" = --metrics=a-file ]
	[ "$(complete_fish 'evkey --metrics a-')" = a-file ]
	[ -z "$(complete_fish 'evkey a-')" ]
}

@test "zsh completes options, values and files" {
	: >a-file
	complete_zsh 'evkey --null' 'evkey --null-ok'
	complete_zsh 'kmock -t orders:1 --ver' 'orders:1 --ver(bose|sion)'
	complete_zsh 'evkey --on-error=sk' '--on-error=skip'
	complete_zsh 'evkey --metrics=a-' '--metrics=a-file'
	complete_zsh 'evkey --on-error st' 'on-error stop'
}

# A program of several commands, as lib/base/opt prints it (tests/unit/test-opt.c).
several_commands() {
	mkdir -p several
	cat >several/evkey <<-'EOS'
	#!/bin/sh
	case $1 in
	add) printf 'Usage: evkey add [-n N]\nAdds.\n\n  -n, --number=a|b               which\n' ;;
	*) printf 'Usage: evkey COMMAND\nCounts.\n\nCommands:\n  add                            adds\n  take-away                      takes\n\n  -h, --help                     this\n' ;;
	esac
	EOS
	chmod +x several/evkey
	export PATH=$PWD/several:$PATH
}

@test "bash, fish and zsh offer the commands of a program, then the options of the one given" {
	several_commands
	[ "$(complete_bash evkey '')" = $'add\ntake-away' ]
	[ "$(complete_bash evkey ta)" = take-away ]
	[ "$(complete_bash evkey --)" = --help ]
	[ "$(complete_bash evkey add --nu)" = --number= ]
	[ "$(complete_bash evkey add --number '')" = $'a\nb' ]
	[ "$(complete_bash evkey none --)" = --help ]
	[ "$(complete_fish 'evkey ')" = $'add\ntake-away' ]
	[ "$(complete_fish 'evkey ta')" = take-away ]
	[ "$(complete_fish 'evkey --')" = --help ]
	[ "$(complete_fish 'evkey add --')" = --number= ]
	complete_zsh 'evkey ta' 'evkey take-away'
	complete_zsh 'evkey add --nu' 'evkey add --number='
	complete_zsh 'evkey --he' 'evkey --help'
}

# A link that names itself is no file: what is installed is read, not listed.
@test "each program is installed with its page and its completions for three shells" {
	local program share=x/share
	make -s -C "$EVPIPE_BUILD" install-data prefix=/ DESTDIR="$PWD/x" >install.log
	for program in $programs evpipe; do
		cmp "$ROOT/man/$program.1" "$share/man/man1/$program.1"
		grep -qF /libexec/evpipe/complete "$share/bash-completion/completions/$program"
		grep -qF /libexec/evpipe/complete "$share/fish/vendor_completions.d/$program.fish"
		head -n 1 "$share/zsh/site-functions/_evpipe" | grep -qw "$program"
	done
	grep -qF /libexec/evpipe/complete "$share/zsh/site-functions/_evpipe"
	[ "$(x/libexec/evpipe/complete evkey --null)" = "$("$ROOT/completions/complete" evkey --null)" ]
}
