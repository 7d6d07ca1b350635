# SPDX-License-Identifier: GPL-2.0-or-later
#
# bash completion for culvert-ctl. The tool itself says which words can follow, from the table its
# command line is made of, so the two cannot differ. Names of bridges and ports are not completed.

_culvert_ctl() {
    local current=${COMP_WORDS[COMP_CWORD]}
    local words
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    -s | --socket)
        compopt -o default 2>/dev/null
        return
        ;;
    esac
    words=$("${COMP_WORDS[0]}" __words "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null) || return
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _culvert_ctl culvert-ctl
