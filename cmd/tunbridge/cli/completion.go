package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Completion prints what makes a shell complete commands, flags, their values, and hosts.
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

The shell reads it with source; what completes a host asks the controller.`
}

// Run prints the script.
func (c *Completion) Run(app *kong.Context) error {
	out := c.out
	if out == nil {
		out = os.Stdout
	}
	name, script := app.Model.Name, strings.Builder{}
	switch c.Shell {
	case "bash":
		bashScript(&script, name, app.Model.Node)
	case "zsh":
		script.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		bashScript(&script, name, app.Model.Node)
	case "fish":
		fishScript(&script, name, app.Model.Node)
	}
	_, err := io.WriteString(out, script.String())
	return err
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

// takesHost says whether a command's first argument is a host.
func takesHost(n *kong.Node) bool { return len(n.Positional) > 0 && n.Positional[0].Name == "host" }

// choices are the values that a flag or an argument may have; none if any.
func choices(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return strings.Split(v.Enum, ",")
}

// hostsCommand lists the hosts' names, whatever is wrong.
const hostsCommand = `%s hosts 2>/dev/null | sed -n '2,$s/ .*//p'`

func bashScript(w io.Writer, name string, root *kong.Node) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	var names []string
	for _, c := range commands(root) {
		names = append(names, c.Name)
	}
	p(`_%s() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= w words= hosts=
	for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $w in -*) ;; *) command=$w; break ;; esac
	done
	case $command in
	"") words=%q ;;`, name, strings.Join(names, " "))
	for _, c := range commands(root) {
		var words []string
		for _, f := range flagsOf(c) {
			words = append(words, "--"+f.Name)
		}
		for _, a := range c.Positional {
			words = append(words, choices(a)...)
		}
		hosts := ""
		if takesHost(c) {
			hosts = "; hosts=1"
		}
		p("\t%s) words=%q%s ;;", c.Name, strings.Join(words, " "), hosts)
	}
	p("\tesac\n\tcase $command$before in")
	for _, c := range commands(root) {
		for _, f := range flagsOf(c) {
			if values := choices(f.Value); values != nil {
				p("\t%s--%s) words=%q; hosts= ;;", c.Name, f.Name, strings.Join(values, " "))
			}
		}
	}
	p(`	esac
	case $word in -*) hosts= ;; esac
	[ -z "$hosts" ] || words="$words $(%s)"
	COMPREPLY=($(compgen -W "$words" -- "$word"))
	case $before in --from|--config|--write|-w|-f) COMPREPLY+=($(compgen -f -- "$word")) ;; esac
}
complete -F _%s %s`, fmt.Sprintf(hostsCommand, name), name, name)
}

func fishScript(w io.Writer, name string, root *kong.Node) {
	quote := func(s string) string {
		return "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", `\'`) + "'"
	}
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("complete -c %s -f", name)
	for _, c := range commands(root) {
		p("complete -c %s -n __fish_use_subcommand -a %s -d %s", name, c.Name, quote(c.Help))
		seen := quote("__fish_seen_subcommand_from " + c.Name)
		for _, f := range flagsOf(c) {
			line := fmt.Sprintf("complete -c %s -n %s -l %s", name, seen, f.Name)
			if f.Short != 0 {
				line += " -s " + string(f.Short)
			}
			switch values := choices(f.Value); {
			case values != nil:
				line += " -x -a " + quote(strings.Join(values, " "))
			case !f.IsBool():
				line += " -r -F"
			}
			p("%s -d %s", line, quote(f.Help))
		}
		for _, a := range c.Positional {
			if values := choices(a); values != nil {
				p("complete -c %s -n %s -a %s", name, seen, quote(strings.Join(values, " ")))
			}
		}
		if takesHost(c) {
			p("complete -c %s -n %s -a %s", name, seen, quote("("+fmt.Sprintf(hostsCommand, name)+")"))
		}
	}
}
