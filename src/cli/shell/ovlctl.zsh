#compdef ovlctl
# zsh completion for ovlctl: it is asked what may come next.
_ovlctl() {
    local line value
    local -a names folders
    for line in ${(f)"$($words[1] complete --at $((CURRENT - 1)) -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)"}; do
        value=${line%%$'\t'*}
        if [[ $value == */ ]]; then
            folders+=("$value")
        else
            names+=("${value//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( $#names )) && _describe -t values 'ovlctl' names
    (( $#folders )) && compadd -S '' -- $folders
}
if [[ $funcstack[1] == _ovlctl ]]; then
    _ovlctl "$@"
else
    compdef _ovlctl ovlctl
fi
