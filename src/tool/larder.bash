# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion of larder(1) in bash: commands and what follows them.

_larder() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local commands="run help version"
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
        return
    fi
    case ${COMP_WORDS[1]}:$before in
    help:*) mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word") ;;
    run:--preset) mapfile -t COMPREPLY < <(compgen -W "latency balanced memory" -- "$word") ;;
    run:--library) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    run:*)
        if [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "--preset --opt --library --" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -c -f -- "$word")
        fi
        ;;
    esac
}
complete -F _larder larder
