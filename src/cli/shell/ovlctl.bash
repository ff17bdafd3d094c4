# bash completion for ovlctl: it is asked what may come next.
_ovlctl() {
    # Bash ends words at ':' and '=', too, and names of images have a ':'.
    local words=() word glue= i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 1)) && [[ -n $glue || $word == [:=]* ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        [[ $word == *[:=] ]] && glue=1 || glue=
    done
    local current=${words[${#words[@]} - 1]} ended=
    [[ $current == *[:=]* ]] && ended=${current%"${current##*[:=]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        [[ $word == */ ]] && compopt -o nospace 2>/dev/null
        COMPREPLY+=("$(printf %q "${word#"$ended"}")")
    done < <("$1" complete --at $((${#words[@]} - 1)) -- "${words[@]}" 2>/dev/null)
}
complete -o nosort -F _ovlctl ovlctl 2>/dev/null || complete -F _ovlctl ovlctl
