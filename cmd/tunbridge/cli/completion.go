package cli

import (
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Completion prints what makes a shell complete commands, flags, their values, and the names of hosts, networks and
// ports.
type Completion struct {
	Shell string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`

	out io.Writer // os.Stdout unless a test sets it
}

// Help is shown below the flags.
func (Completion) Help() string {
	return `Examples:
  tunbridge completion bash > tunbridge.bash
  tunbridge completion zsh > tunbridge.zsh
  tunbridge completion fish > tunbridge.fish

The shell reads it with source, as "source <(tunbridge completion bash)" in ~/.bashrc. Names are asked of the controller.`
}

// Run prints the script.
func (c *Completion) Run(app *kong.Context) error {
	out := c.out
	if out == nil {
		out = os.Stdout
	}
	_, err := io.WriteString(out, strings.ReplaceAll(scripts[c.Shell], "PROGRAM", app.Model.Name))
	return err
}

// scripts ask the command complete, each in its shell's way.
var scripts = map[string]string{
	"bash": `_PROGRAM() {
	local word what
	local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
	COMPREPLY=()
	while IFS=$'\t' read -r word what; do
		if [ "$word" = ` + files + ` ]; then
			compopt -o filenames
			while read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
		else
			printf -v word %q "$word"
			COMPREPLY+=("$word")
		fi
	done < <(PROGRAM complete "${words[@]//\\/}" 2>/dev/null)
}
complete -F _PROGRAM PROGRAM
`,
	"zsh": `(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_PROGRAM() {
	local word what
	local -a found shown
	while IFS=$'\t' read -r word what; do
		if [[ $word == ` + files + ` ]]; then
			_files
			return
		fi
		found+=("$word")
		shown+=("$word${what:+  -- $what}")
	done < <(PROGRAM complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
	(( $#found )) && compadd -l -d shown -a found
}
compdef _PROGRAM PROGRAM
`,
	"fish": `function __PROGRAM_complete
	set -l words (commandline -opc) "$(commandline -ct | string unescape)"
	for line in (PROGRAM complete $words[2..-1] 2>/dev/null)
		if string match -q ` + files + `'*' -- $line
			__fish_complete_path (commandline -ct)
		else
			echo $line
		end
	end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
`,
}

// commands are those that are not hidden.
func commands(n *kong.Node) (list []*kong.Node) {
	for _, c := range n.Children {
		if !c.Hidden {
			list = append(list, c)
		}
	}
	return list
}

// flagsOf are a command's own and those of the program, without hidden ones.
func flagsOf(n *kong.Node) (list []*kong.Flag) {
	for _, group := range n.AllFlags(true) {
		list = append(list, group...)
	}
	return list
}

// choices are the values that a flag or an argument may have; none if any.
func choices(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return strings.Split(v.Enum, ",")
}
