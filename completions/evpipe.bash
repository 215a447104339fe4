# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Bash completion for evpipe's programs. The options are asked of PROGRAM --help when TAB is pressed, so
# there is nothing here that could be out of date.

# _evpipe_commands PROGRAM: prints its commands, one a line; nothing when it has none.
_evpipe_commands() {
	"$1" --help 2>/dev/null </dev/null | awk '
		/^Commands:/ { inside = 1; next }
		/^$/ { inside = 0 }
		inside { print $1 }'
}

# _evpipe_options PROGRAM [COMMAND]: prints its options, one a line, each as "OPTION VALUE" ("OPTION" alone when
# it takes none). In --help a line of the table is "  -x, --long=VALUE  what it is for".
_evpipe_options() {
	"$@" --help 2>/dev/null </dev/null | awk '
		/^Examples:/ { exit }
		/^ +-/ {
			sub(/^ +/, "")
			value = ""
			if (match($0, /^(-[^ ,=]+, )*-[^ ,=]+=[^ ]+/)) {
				names = substr($0, 1, RLENGTH)
				value = substr(names, index(names, "=") + 1)
				sub(/=.*/, "", names)
			} else if (match($0, /^-[^ ,=-] [A-Z][^ ]*/)) {
				names = substr($0, 1, 2)
				value = substr($0, 4, RLENGTH - 3)
			} else {
				match($0, /^(-[^ ,=]+, )*-[^ ,=]+/)
				names = substr($0, 1, RLENGTH)
			}
			n = split(names, name, /, /)
			for (i = 1; i <= n; i++)
				print value == "" ? name[i] : name[i] " " value
		}'
}

_evpipe() {
	local cur=$2 before=$3 line word commands options words=() call=("$1")
	COMPREPLY=()
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ $word != -- ]] || return
	done
	mapfile -t commands < <(_evpipe_commands "$1")
	for word in "${commands[@]}"; do
		[[ $COMP_CWORD -eq 1 || $word != "${COMP_WORDS[1]}" ]] || call+=("$word")
	done
	options=$(_evpipe_options "${call[@]}")

	# "--on-error=st" comes in the words --on-error, = and st.
	[[ $cur != = ]] || cur=
	[[ $before != = ]] || before=${COMP_WORDS[COMP_CWORD - 2]}
	if [[ $before == -* ]]; then
		while read -r word line; do
			[[ $word == "$before" && -n $line ]] || continue
			case $line in
			*FILE* | *PATH*)
				compopt -o filenames 2>/dev/null
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
				;;
			*'|'*) mapfile -t COMPREPLY < <(compgen -W "${line//|/ }" -- "$cur") ;;
			esac
			return
		done <<<"$options"
	fi

	if [[ $COMP_CWORD -eq 1 && $cur != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${commands[*]}" -- "$cur")
		return
	fi
	[[ $cur == -* ]] || return
	while read -r word line; do
		[[ $word != --* || -z $line ]] || word+='='
		words+=("$word")
	done <<<"$options"
	mapfile -t COMPREPLY < <(compgen -W "${words[*]}" -- "$cur")
	[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
}

complete -F _evpipe kread kwrite kcheck khttp kmock rsub rpub rapply evstamp evkey evsel evbatch evack evchain evcorr evfmt evsse evreplay evtop evpipe
