// Package man writes the manual pages of a program from its commands, as cobra knows them: nothing that a page says is written a
// second time. It speaks the man macros of groff and mandoc (groff_man(7), man(7)); cobra's own writer goes through Markdown and
// brings two more libraries.
package man

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Config is what the pages say beside what the commands say of themselves.
type Config struct {
	Section int    // of the manual: 1 for commands, 8 for daemons
	Date    string // as 2026-11-23; "": that of the commit that the program was built from
	Version string // of the program
	About   []Part // stand on the page of the program itself, before SEE ALSO
	See     []string
}

// Part is a section of a page, such as FILES. Its paragraphs stand between empty lines; what is indented stays as it is.
type Part struct{ Title, Text string }

// Page is a page and the name of its file.
type Page struct {
	Name string // as udpsrv-get.1
	Data []byte
}

// Pages returns the pages of a program and of all its commands that are no secret, in the order of the commands. The same
// commands give the same bytes.
func Pages(root *cobra.Command, c Config) []Page {
	if c.Date == "" {
		c.Date = built()
	}
	var out []Page
	for _, cmd := range described(root) {
		p := page{root: root, cmd: cmd, conf: c}
		out = append(out, Page{fmt.Sprintf("%s.%d", name(cmd), c.Section), p.write()})
	}
	return out
}

// Write puts pages into a folder, which is made.
func Write(dir string, pages []Page) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range pages {
		if err := os.WriteFile(filepath.Join(dir, p.Name), p.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Command returns a command that is not shown, for `make install`: man DIR writes the pages of the program that it is added to.
func Command(c Config) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return Write(args[0], Pages(cmd.Root(), c))
		},
	}
}

// built returns the day of the commit that this program was built from, or that of its file.
func built() string {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, s := range info.Settings {
			if day, _, ok := strings.Cut(s.Value, "T"); ok && s.Key == "vcs.time" {
				return day
			}
		}
	}
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	file, err := os.Stat(self)
	if err != nil {
		return ""
	}
	return file.ModTime().UTC().Format(time.DateOnly)
}

// described returns a command and those below it that have a page.
func described(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, c := range below(cmd) {
		out = append(out, described(c)...)
	}
	return out
}

// below returns the commands of a command that have a page.
func below(cmd *cobra.Command) (out []*cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			out = append(out, c)
		}
	}
	return out
}

// name returns the name of the page of a command.
func name(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// page is a page that is being written.
type page struct {
	root, cmd *cobra.Command
	conf      Config
	b         bytes.Buffer
}

func (p *page) write() []byte {
	cmd := p.cmd
	cmd.InitDefaultHelpFlag()
	fmt.Fprintf(&p.b, ".\\\" Written by %s man.\n.TH %s %d %s %s %s\n", p.root.Name(), quoted(strings.ToUpper(name(cmd))), p.conf.Section, `"`+p.conf.Date+`"`,
		quoted(strings.TrimSpace(p.root.Name()+" "+p.conf.Version)), quoted("Rollcall"))
	p.b.WriteString(".nh\n.ad l\n") // commands and paths are not broken
	p.title("NAME")
	p.b.WriteString(escape(name(cmd)) + ` \- ` + escape(uncapital(cmd.Short)) + "\n")
	p.title("SYNOPSIS")
	p.b.WriteString(`\fB` + escape(cmd.CommandPath()) + `\fR` + escape(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())) + "\n")
	p.title("DESCRIPTION")
	p.text(cmp.Or(cmd.Long, cmd.Short+"."))
	if list := below(cmd); len(list) > 0 {
		p.title("COMMANDS")
		for _, c := range list {
			p.b.WriteString(".TP\n\\fB" + escape(name(c)) + fmt.Sprintf("\\fR(%d)\n", p.conf.Section) + line(c.Short) + "\n")
		}
	}
	p.flags("OPTIONS", cmd.NonInheritedFlags())
	p.flags("OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	if cmd.Example != "" {
		p.title("EXAMPLES")
		p.verbatim(strings.Split(strings.Trim(cmd.Example, "\n"), "\n"))
	}
	if cmd == p.root {
		for _, a := range p.conf.About {
			p.title(a.Title)
			p.text(a.Text)
		}
	}
	p.seeAlso()
	return p.b.Bytes()
}

func (p *page) title(s string) { p.b.WriteString(".SH " + escape(s) + "\n") }

// titled reports whether the last line is a title, which begins a paragraph itself.
func (p *page) titled() bool {
	lines := bytes.Split(bytes.TrimSpace(p.b.Bytes()), []byte("\n"))
	return bytes.HasPrefix(lines[len(lines)-1], []byte(".SH "))
}

// seeAlso names the page above and those that the configuration names.
func (p *page) seeAlso() {
	var see []string
	if p.cmd.HasParent() {
		see = append(see, fmt.Sprintf(`\fB%s\fR(%d)`, escape(name(p.cmd.Parent())), p.conf.Section))
	}
	for _, s := range p.conf.See {
		page, section, _ := strings.Cut(strings.TrimSuffix(s, ")"), "(")
		see = append(see, fmt.Sprintf(`\fB%s\fR(%s)`, escape(page), section))
	}
	if len(see) > 0 {
		p.title("SEE ALSO")
		p.b.WriteString(strings.Join(see, ",\n") + "\n")
	}
}

// flags writes the flags of a set that are no secret.
func (p *page) flags(title string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	p.title(title)
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		p.b.WriteString(".TP\n")
		if f.Shorthand != "" {
			p.b.WriteString(`\fB\-` + escape(f.Shorthand) + `\fR, `)
		}
		p.b.WriteString(`\fB\-\-` + escape(f.Name) + `\fR`)
		value, usage := pflag.UnquoteUsage(f)
		if value != "" {
			p.b.WriteString(`=\fI` + escape(value) + `\fR`)
		}
		if d := f.DefValue; d != "" && d != "false" && d != "[]" && d != "0" {
			usage += fmt.Sprintf(" (default %s)", d)
		}
		p.b.WriteString("\n" + line(usage) + "\n")
	})
}

// text writes paragraphs; lines that are indented stay as they are.
func (p *page) text(s string) {
	first := true
	var kept []string
	flush := func() {
		if len(kept) > 0 {
			p.verbatim(kept)
			kept = nil
		}
	}
	for _, l := range strings.Split(strings.Trim(s, "\n"), "\n") {
		switch indented := strings.HasPrefix(l, "  ") || strings.HasPrefix(l, "\t"); {
		case indented:
			kept = append(kept, l)
			continue
		case strings.TrimSpace(l) == "":
			flush()
			first = false
			continue
		}
		flush()
		if !first {
			p.b.WriteString(".PP\n")
			first = true
		}
		p.b.WriteString(line(l) + "\n")
	}
	flush()
}

// verbatim writes lines as they are.
func (p *page) verbatim(lines []string) {
	if !p.titled() {
		p.b.WriteString(".PP\n")
	}
	p.b.WriteString(".nf\n")
	for _, l := range lines {
		p.b.WriteString(line(strings.ReplaceAll(l, "\t", "    ")) + "\n")
	}
	p.b.WriteString(".fi\n")
}

// uncapital returns a sentence without the capital that it begins with, unless that begins an abbreviation.
func uncapital(s string) string {
	if len(s) > 1 && strings.ToUpper(s[1:2]) != s[1:2] {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// line returns a line of text, which can't be taken for a request of roff.
func line(s string) string {
	s = escape(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, `\(aq`) {
		return `\&` + s
	}
	return s
}

// quoted returns an argument of a request.
func quoted(s string) string { return `"` + strings.ReplaceAll(escape(s), `"`, `\(dq`) + `"` }

// escape returns text that roff shows as it is, in ASCII.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\(rs`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r >= 0x80:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		case r < ' ' && r != '\n':
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
