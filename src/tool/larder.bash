# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion of larder(1) in bash: commands and what follows them.

_larder_processes() {
    "${COMP_WORDS[0]}" ps 2>/dev/null | awk 'NR > 1 { print $1 }'
}

# _larder_options [WHEN]: names of options with a "=", all or those that change at any time.
_larder_options() {
    "${COMP_WORDS[0]}" help options 2>/dev/null | grep -- "$1" | sed -nE 's/^([a-z][a-z_]+) .*/\1=/p'
}

_larder() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local commands="run ps stat top set trim profile trace replay tune doctor help version"
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
        return
    fi
    case ${COMP_WORDS[1]}:$before in
    help:*) mapfile -t COMPREPLY < <(compgen -W "$commands options" -- "$word") ;;
    profile:--kind)
        mapfile -t COMPREPLY < <(compgen -W \
            "live allocated peak growth lifetime freed pinned pinned-huge" -- "$word")
        ;;
    profile:--raw | profile:--base | profile:-o) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    profile:*)
        if [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--kind --text --json --pprof --svg -o --seconds --interval
                --base --raw" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -W "$(_larder_processes)" -- "$word")
        fi
        ;;
    run:--preset | replay:--preset) mapfile -t COMPREPLY < <(compgen -W "latency balanced memory" -- "$word") ;;
    run:--trace | trace:-o) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    replay:--touch) mapfile -t COMPREPLY < <(compgen -W "pages first all" -- "$word") ;;
    replay:--lib) mapfile -t COMPREPLY < <(compgen -f -W "larder glibc jemalloc tcmalloc mimalloc" -- "$word") ;;
    tune:--for) mapfile -t COMPREPLY < <(compgen -W "speed memory balanced" -- "$word") ;;
    replay:* | tune:*)
        if [[ $word:${COMP_WORDS[1]} == -*:tune ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--for --budget --json" -- "$word")
        elif [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--lib --preset --opt --rounds --touch --json" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
        ;;
    run:--library) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    run:--opt | replay:--opt)
        mapfile -t COMPREPLY < <(compgen -W "$(_larder_options)" -- "$word")
        compopt -o nospace 2>/dev/null
        ;;
    set:[0-9]*)
        mapfile -t COMPREPLY < <(compgen -W "$(_larder_options 'any time')" -- "$word")
        compopt -o nospace 2>/dev/null
        ;;
    ps:* | stat:* | top:* | set:* | trim:* | trace:* | doctor:*)
        case $word:${COMP_WORDS[1]} in
        -*:stat)
            mapfile -t COMPREPLY < <(compgen -W "--json --openmetrics --prometheus --explain
                --interval --count" -- "$word")
            ;;
        -*:trace) mapfile -t COMPREPLY < <(compgen -W "-o --seconds --memory" -- "$word") ;;
        -*:top) mapfile -t COMPREPLY < <(compgen -W "--delay" -- "$word") ;;
        -*) mapfile -t COMPREPLY < <(compgen -W "--json" -- "$word") ;;
        *:ps) ;;
        *)
            mapfile -t COMPREPLY < <(compgen -W "$(_larder_processes)" -- "$word")
            ;;
        esac
        ;;
    run:*)
        if [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--preset --opt --library --trace --" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -c -f -- "$word")
        fi
        ;;
    esac
}
complete -F _larder larder
