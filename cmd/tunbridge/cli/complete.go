package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/tunbridge/tunbridge/controller/inspect"
)

// Complete prints what may stand in place of the last word of a command line: a line for each, with what it is
// behind a tab. A line ":files" stands for names of files. The scripts of Completion ask it.
//
// What a flag or an argument may be says its enum, and its tag offer: words, and <port>, <network>, <host> for the
// names of those, as in `offer:"all,<port>"`. One whose placeholder is FILE is a file.
type Complete struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"The words behind the program's name, up to the cursor."`

	out io.Writer // os.Stdout unless a test sets it
}

// files stands for names of files.
const files = ":files"

// Run prints the candidates. What goes wrong is no candidate: who types must not be disturbed.
func (c *Complete) Run(app *kong.Context) error {
	var to io.Writer = os.Stdout
	if c.out != nil {
		to = c.out
	}
	out := bufio.NewWriter(to)
	l := readLine(app.Model.Node, c.Words)
	for _, x := range l.candidates() {
		if strings.HasPrefix(x.word, l.word) || x.word == files {
			if x.word != files {
				x.word = l.prefix + x.word
			}
			_, _ = out.WriteString(x.word + "\t" + x.what + "\n")
		}
	}
	return out.Flush()
}

// candidate is a word and what it is.
type candidate struct{ word, what string }

// commandLine is one that is being typed.
type commandLine struct {
	root    *kong.Node
	command *kong.Node  // nil: not typed yet
	flag    *kong.Value // whose value is being typed; nil: none
	args    []string    // arguments of the command before the word
	admin   string
	prefix  string // of the last word, before word: a flag and =
	word    string // that is being typed
}

// readLine takes the words apart. bash parts words at = and : too.
func readLine(root *kong.Node, words []string) *commandLine {
	l := &commandLine{root: root, admin: os.Getenv("TUNBRIDGE_ADMIN")}
	for _, part := range words {
		if n := len(l.args) - 1; n >= 0 && (part == ":" || strings.HasSuffix(l.args[n], ":")) {
			l.args[n] += part
		} else {
			l.args = append(l.args, part)
		}
	}
	words, l.args = l.args, nil
	if len(words) == 0 {
		return l
	}
	last := len(words) - 1
	for i := 0; i < last; i++ {
		w := words[i]
		switch {
		case strings.HasPrefix(w, "-"):
			name, value, whole := strings.Cut(w, "=")
			f := l.flagCalled(name)
			if f == nil || f.IsBool() || whole {
				l.set(f, value)
				continue
			}
			if i+1 <= last && words[i+1] == "=" {
				i++
			}
			if i++; i >= last {
				l.flag = f.Value
			} else {
				l.set(f, words[i])
			}
		case l.command == nil:
			for _, c := range commands(root) {
				if c.Name == w {
					l.command = c
				}
			}
		default:
			l.args = append(l.args, w)
		}
	}
	if l.word = words[last]; l.word == "=" && l.flag != nil {
		l.word = ""
	}
	if name, value, whole := strings.Cut(l.word, "="); whole && l.flag == nil && strings.HasPrefix(name, "-") {
		if f := l.flagCalled(name); f != nil {
			l.flag, l.prefix, l.word = f.Value, name+"=", value
		}
	}
	return l
}

// set notes the flag that says whom to ask.
func (l *commandLine) set(f *kong.Flag, value string) {
	if f != nil && f.Name == "admin" {
		l.admin = value
	}
}

// flagCalled is the command's flag of a name with its dashes; nil if it has none.
func (l *commandLine) flagCalled(name string) *kong.Flag {
	if l.command == nil {
		return nil
	}
	for _, f := range flagsOf(l.command) {
		if name == "--"+f.Name || f.Short != 0 && name == "-"+string(f.Short) {
			return f
		}
	}
	return nil
}

func (l *commandLine) candidates() (list []candidate) {
	switch {
	case l.flag != nil:
		return l.values(l.flag, "")
	case l.command == nil:
		for _, c := range commands(l.root) {
			list = append(list, candidate{c.Name, c.Help})
		}
	case strings.HasPrefix(l.word, "-"):
		for _, f := range flagsOf(l.command) {
			list = append(list, candidate{"--" + f.Name, f.Help})
		}
	default:
		before := ""
		for i, a := range l.command.Positional {
			switch {
			case i == len(l.args), i < len(l.args) && a.IsSlice():
				if len(l.args) > i {
					before = l.args[len(l.args)-1]
				}
				return l.values(a, before)
			}
		}
	}
	return list
}

// behind is what follows the subjects of explain.
var behind = map[string]string{inspect.KindPort: "<port>", inspect.KindNetwork: "<network>", inspect.KindHost: "<host>", "dhcp": "<port>", "metadata": "<port>"}

// values are what a flag or an argument may be, behind another argument of a list.
func (l *commandLine) values(v *kong.Value, before string) (list []candidate) {
	if v.Tag.PlaceHolder == "FILE" {
		return []candidate{{word: files}}
	}
	offer := strings.Split(v.Tag.Get("offer"), ",")
	if before != "" {
		offer = []string{behind[before]}
	}
	for _, w := range append(choices(v), offer...) {
		if w != "" && !strings.HasPrefix(w, "<") {
			list = append(list, candidate{word: w})
		}
	}
	kinds := map[string]bool{}
	for _, w := range offer {
		if kind, ok := strings.CutPrefix(w, "<"); ok {
			kinds[strings.TrimSuffix(kind, ">")] = true
		}
	}
	if len(kinds) == 0 {
		return list
	}
	a := Admin{Admin: l.admin}
	client, err := a.client()
	if err != nil {
		return list
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	objects, err := client.Names(ctx, l.word)
	if err != nil {
		return list
	}
	times := map[string]int{}
	for _, o := range objects {
		if kinds[o.Kind] {
			times[o.Name]++
		}
	}
	for _, o := range objects {
		if !kinds[o.Kind] {
			continue
		}
		what := strings.TrimRight(o.Kind+" "+inspect.Called(o.Name)+" "+o.Note, " ")
		strange := strings.ContainsFunc(o.Name, func(r rune) bool { return !unicode.IsPrint(r) || r == ':' || r == '=' })
		if o.Name != "" && times[o.Name] == 1 && !strange && strings.HasPrefix(o.Name, l.word) {
			list = append(list, candidate{o.Name, Clean(what)})
		} else if !slices.ContainsFunc(list, func(c candidate) bool { return c.word == o.ID }) {
			list = append(list, candidate{o.ID, cleaned(what, "")})
		}
	}
	return list
}
