#compdef kread kwrite kcheck khttp kmock rsub rpub rapply evstamp evkey evsel evbatch evack evchain evcorr evfmt evsse evreplay evtop evpipe
# SPDX-License-Identifier: ISC
# Zsh completion for evpipe's programs; installed as _evpipe. What is offered comes from the script `complete`.

local helper='@pkglibexecdir@/complete' line word ret=1
local -a given closed open
[[ -x $helper ]] || helper=${${(%):-%x}:A:h}/complete
# The words as programs get them.
given=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
for line in "${(@f)$("$helper" "${given[@]}" 2>/dev/null)}"; do
	case $line in
	'') ;;
	$'\tcommands') _command_names && ret=0 ;;
	$'\tcommand '*)
		shift ${line##* } words
		(( CURRENT -= ${line##* } ))
		_normal
		return
		;;
	$'\tfiles '*)
		compset -p ${#line#$'\tfiles '}
		_files && ret=0
		;;
	*)
		word=${line%%$'\t'*}
		line=${word//:/\\:}:${line#*$'\t'}
		# Behind these the word goes on.
		if [[ $word == *[=:] ]]; then open+=("$line"); else closed+=("$line"); fi
		;;
	esac
done
(( ! $#closed )) || { _describe -V 'completion' closed && ret=0 }
(( ! $#open )) || { _describe -V 'completion' open -S '' && ret=0 }
return ret
