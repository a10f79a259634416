export const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** Each hands the words typed so far to `__complete` and shows what it prints; nothing printed means: a file. */
export const COMPLETION_SCRIPTS: Record<(typeof SHELLS)[number], string> = {
  bash: `# bash completion of gfs: source <(gfs completion bash)
_gfs_complete() {
  local line
  COMPREPLY=()
  while IFS='' read -r line; do
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _gfs_complete gfs galleonfs
`,
  zsh: `#compdef gfs galleonfs
# zsh completion of gfs: gfs completion zsh > "\${fpath[1]}/_gfs"
_gfs() {
  local -a lines described
  local line
  lines=("\${(@f)$("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in "\${lines[@]}"; do
    [[ -n "$line" ]] && described+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  if (( \${#described} )); then
    _describe 'gfs' described
  else
    _files
  fi
}
if [[ "$funcstack[1]" == "_gfs" ]]; then
  _gfs "$@"
else
  compdef _gfs gfs galleonfs
fi
`,
  fish: `# fish completion of gfs: gfs completion fish > ~/.config/fish/completions/gfs.fish
function __gfs_complete
  set -l typed (commandline -opc)
  set -l current (commandline -ct)
  set -l found ($typed[1] __complete -- $typed[2..-1] "$current" 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path "$current"
  end
end
complete -c gfs -f -a '(__gfs_complete)'
complete -c galleonfs -f -a '(__gfs_complete)'
`,
};
