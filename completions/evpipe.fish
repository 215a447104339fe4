# SPDX-License-Identifier: ISC
# Fish completion for evpipe's programs. The options are asked of PROGRAM --help when TAB is pressed, so
# there is nothing here that could be out of date.

# Prints the commands of a program and what each is for, separated by a TAB; nothing when it has none.
function __evpipe_commands
    set -l inside no
    for line in ($argv[1] --help 2>/dev/null </dev/null)
        switch $line
            case 'Commands:*'
                set inside yes
            case ''
                set inside no
            case '*'
                test $inside = yes; and string replace -r -- '^ +([^ ]+) *(.*)$' '$1\t$2' $line
        end
    end
end

# Prints the options of a program, or of a command of it, one a line: option, value, what it is for, separated by TABs. In
# --help a line of the table is "  -x, --long=VALUE  what it is for".
function __evpipe_options
    for line in ($argv --help 2>/dev/null </dev/null)
        string match -q 'Examples:*' -- $line; and return
        if set -l m (string match -r -- '^ +((?:-[^ ,=]+, )*-[^ ,=]+)=([^ ]+) *(.*)$' $line)
            for name in (string split ', ' -- $m[2])
                printf '%s\t%s\t%s\n' $name $m[3] $m[4]
            end
        else if set -l m (string match -r -- '^ +(-[^ ,=-]) ([A-Z][^ ]*) *(.*)$' $line)
            printf '%s\t%s\t%s\n' $m[2] $m[3] $m[4]
        else if set -l m (string match -r -- '^ +((?:-[^ ,=]+, )*-[^ ,=]+) *(.*)$' $line)
            for name in (string split ', ' -- $m[2])
                printf '%s\t\t%s\n' $name $m[3]
            end
        end
    end
end

# What can stand for VALUE, with a prefix before each.
function __evpipe_values
    set -l value $argv[1]
    set -l typed $argv[2]
    set -l prefix $argv[3]
    if string match -q -r 'FILE|PATH' -- $value
        for path in (__fish_complete_path $typed)
            echo $prefix$path
        end
    else if string match -q '*|*' -- $value
        for word in (string split '|' -- $value)
            echo $prefix$word
        end
    end
end

function __evpipe_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    contains -- -- $words; and return
    set -l commands (__evpipe_commands $words[1])
    if test (count $words) -eq 1; and not string match -q -- '-*' $typed
        string collect -- $commands
        return
    end
    set -l call $words[1]
    test (count $words) -gt 1; and contains -- $words[2] (string split -f 1 \t -- $commands)
    and set -a call $words[2]
    set -l options (__evpipe_options $call)
    set -l assigned (string match -r -- '^(--[^=]+)=(.*)$' $typed)
    for option in $options
        set -l part (string split \t -- $option)
        test -n "$part[2]"; or continue
        if test (count $assigned) -gt 0; and test "$assigned[2]" = "$part[1]"
            __evpipe_values $part[2] "$assigned[3]" $part[1]=
            return
        else if test (count $words) -gt 1; and test "$words[-1]" = "$part[1]"
            __evpipe_values $part[2] "$typed" ''
            return
        end
    end
    string match -q -- '-*' $typed; or return
    for option in $options
        set -l part (string split \t -- $option)
        if test -n "$part[2]"; and string match -q -- '--*' $part[1]
            printf '%s=\t%s\n' $part[1] $part[3]
        else
            printf '%s\t%s\n' $part[1] $part[3]
        end
    end
end

for program in kread kwrite kcheck khttp kmock rsub rpub rapply evstamp evkey evsel evbatch evack evchain evcorr evfmt evsse evreplay evtop evpipe
    complete -c $program -f -a '(__evpipe_complete)'
end
