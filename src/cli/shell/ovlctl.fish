# fish completion for ovlctl: it is asked what may come next.
function __ovlctl_complete
    set -l words (commandline -opc)
    $words[1] complete --at (count $words) -- $words (commandline -ct) 2>/dev/null
end
complete -c ovlctl -f -a '(__ovlctl_complete)'
