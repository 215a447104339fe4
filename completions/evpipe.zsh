#compdef kread kwrite kcheck khttp kmock rsub rpub rapply evstamp evkey evsel evbatch evack evchain evcorr evfmt evsse evreplay evtop evpipe
# SPDX-License-Identifier: ISC
# Zsh completion for evpipe's programs; installed as _evpipe. The options are asked of PROGRAM --help
# when TAB is pressed, so there is nothing here that could be out of date.

local line names value text action name inside
local -a specs commands call
# A program of several commands lists them; behind one of them, its own options are asked for.
for line in "${(@f)$(_call_program commands ${(q)words[1]} --help 2>/dev/null </dev/null)}"; do
	case $line in
	Commands:*) inside=yes ;;
	'') inside= ;;
	*) [[ -z $inside || ! $line =~ '^ +([^ ]+) *(.*)$' ]] || commands+=("$match[1]:$match[2]") ;;
	esac
done
if [[ $CURRENT -eq 2 && $PREFIX != -* ]] && (( $#commands )); then
	_describe command commands
	return
fi
call=($words[1])
if [[ $CURRENT -gt 2 && -n ${commands[(r)${words[2]}:*]} ]]; then
	call+=($words[2])
	shift words
	(( CURRENT-- ))
fi
specs=()
for line in ${(f)"$(_call_program options ${(q)call} --help 2>/dev/null </dev/null)"}; do
	[[ $line == Examples:* ]] && break
	# "  -x, --long=VALUE  what it is for"
	if [[ $line =~ '^ +((-[^ ,=]+, )*-[^ ,=]+)=([^ ]+) *(.*)$' ]]; then
		names=$match[1] value=$match[3] text=$match[4]
	elif [[ $line =~ '^ +(-[^ ,=-]) ([A-Z][^ ]*) *(.*)$' ]]; then
		names=$match[1] value=$match[2] text=$match[3]
	elif [[ $line =~ '^ +((-[^ ,=]+, )*-[^ ,=]+) *(.*)$' ]]; then
		names=$match[1] value= text=$match[3]
	else
		continue
	fi
	text=${text//[\[\]:]/ }
	case $value in
	*FILE* | *PATH*) action=_files ;;
	*'|'*) action="(${value//|/ })" ;;
	*) action=' ' ;;
	esac
	value=${value//:/ }
	for name in ${(s:, :)names}; do
		case $name:$value in
		*:) specs+=("*${name}[$text]") ;;
		--*) specs+=("*${name}=[$text]:$value:$action") ;;
		*) specs+=("*${name}+[$text]:$value:$action") ;;
		esac
	done
done
_arguments -s -S : $specs
