# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Bash completion for evpipe's programs. What is offered comes from the script `complete`.

_evpipe_helper='@pkglibexecdir@/complete'
[[ -x $_evpipe_helper ]] || _evpipe_helper=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/complete

# Fills in `words`, the command line up to the cursor as programs get it, and `index`, for each where it stands in COMP_WORDS.
# "--on-error=st" comes in the words --on-error, = and st, as = and : are in COMP_WORDBREAKS.
_evpipe_words() {
	local i word rest=${COMP_LINE-}
	rest=${rest::${COMP_POINT:-0}}
	words=() index=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i)) && [[ (-z ${COMP_LINE-} || $rest == "$word"*) && ($word == [=:]* || ${COMP_WORDS[i - 1]} == *[=:]) ]]; then
			words[-1]+=$word
		else
			rest=${rest#"${rest%%[![:space:]]*}"}
			words+=("$word") index+=("$i")
		fi
		rest=${rest#"$word"}
	done
	for i in "${!words[@]}"; do
		case ${words[i]} in
		\'*\') words[i]=${words[i]:1:-1} ;;
		\'*) words[i]=${words[i]:1} ;;
		\\\|) words[i]='|' ;;
		\"\|\") words[i]='|' ;;
		esac
	done
}

_evpipe() {
	local line words index cut cur=$2
	COMPREPLY=()
	_evpipe_words
	# What stands before the last word of COMP_WORDS is on the command line already.
	[[ $cur != [=:] ]] || cur=
	cut=${words[-1]%"${cur#[\'\"]}"}
	while IFS= read -r line; do
		case $line in
		$'\tfiles '*)
			compopt -o filenames 2>/dev/null
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
			;;
		$'\tcommands')
			mapfile -t COMPREPLY < <({ printf '%s\n' "${COMPREPLY[@]}" && compgen -c -- "$cur"; } | grep . | sort -u)
			;;
		$'\tcommand '*)
			# Of the package bash-completion.
			if declare -F _command_offset >/dev/null; then
				_command_offset "${index[${line##* }]}"
			else
				compopt -o default 2>/dev/null
			fi
			return
			;;
		*)
			line=${line%%$'\t'*}
			COMPREPLY+=("${line#"$cut"}")
			;;
		esac
	done < <("$_evpipe_helper" "${words[@]}" 2>/dev/null)
	[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *[=:] ]] || compopt -o nospace 2>/dev/null
}

complete -F _evpipe kread kwrite kcheck khttp kmock rsub rpub rapply evstamp evkey evsel evbatch evack evchain evcorr evfmt evsse evreplay evtop evpipe
