# SPDX-License-Identifier: ISC
# Fish completion for evpipe's programs. What is offered comes from the script `complete`.

set -g __evpipe_helper '@pkglibexecdir@/complete'
test -x $__evpipe_helper; or set -g __evpipe_helper (realpath (status dirname))/complete

function __evpipe_complete
    set -l typed (commandline -ct | string unescape)
    set -l words (commandline -opc) "$typed"
    for line in ($__evpipe_helper $words 2>/dev/null)
        set -l part (string split -m 1 ' ' -- (string sub -s 2 -- $line))
        switch $line
            case \tfiles'*'
                set -l begun (string sub -s (math (string length -- "$part[2]") + 1) -- "$typed")
                for path in (__fish_complete_path "$begun")
                    echo $part[2]$path
                end
            case \tcommands
                # Those of fish's own come with descriptions, which take it most of a second; and evpipe runs no functions.
                if type -q path; and not string match -q '*/*' -- $typed
                    set -l found $PATH/$typed*
                    set -q found[1]; and path filter --type file --perm exec -- $found | path basename
                else
                    __fish_complete_command
                end
            case \tcommand'*'
                set -l rest (string escape -- $words[(math $part[2] + 1)..-2]) (commandline -ct)
                complete -C "$rest"
            case '*'
                echo $line
        end
    end
end

for program in kread kwrite kcheck khttp kmock rsub rpub rapply evstamp evkey evsel evbatch evack evchain evcorr evfmt evsse evreplay evtop evpipe
    complete -c $program -f -a '(__evpipe_complete)'
end
