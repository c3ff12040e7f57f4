package man

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// tree is a program with whatever could be taken for roff.
func tree() *cobra.Command {
	root := &cobra.Command{Use: "prog", Short: "Ask the network", Long: "First line\n.SH is no request\n'quoted' at the start\n\nSecond paragraph:\n\n  kept  as it is\n\t.x\n\nThe end \\fB — °C."}
	root.PersistentFlags().Bool("verbose", false, "say more")
	get := &cobra.Command{Use: "get HOST", Short: "UDP is asked", Example: "  prog get 'a b' -x\n  prog get ~", Run: func(*cobra.Command, []string) {}}
	get.Flags().StringP("out", "o", "-", "`FILE` to write \\n")
	get.Flags().Bool("secret", false, "x")
	_ = get.Flags().MarkHidden("secret")
	root.AddCommand(get, &cobra.Command{Use: "hidden", Hidden: true, Run: func(*cobra.Command, []string) {}}, Command(Config{}))
	return root
}

var conf = Config{Section: 1, Date: "2026-11-23", Version: "v1.2", About: []Part{{"FILES", "~/.x\n\nmore"}}, See: []string{"other(8)"}}

func TestPages(t *testing.T) {
	t.Parallel()
	pages := Pages(tree(), conf)
	if len(pages) != 2 || pages[0].Name != "prog.1" || pages[1].Name != "prog-get.1" {
		t.Fatalf("pages %v", pages)
	}
	want := `.\" Written by prog man.
.TH "PROG\-GET" 1 "2026-11-23" "prog v1.2" "Rollcall"
.nh
.ad l
.SH NAME
prog\-get \- UDP is asked
.SH SYNOPSIS
\fBprog get\fR HOST [flags]
.SH DESCRIPTION
UDP is asked.
.SH OPTIONS
.TP
\fB\-h\fR, \fB\-\-help\fR
help for get
.TP
\fB\-o\fR, \fB\-\-out\fR=\fIFILE\fR
FILE to write \(rsn (default \-)
.SH OPTIONS OF ALL COMMANDS
.TP
\fB\-\-verbose\fR
say more
.SH EXAMPLES
.nf
  prog get \(aqa b\(aq \-x
  prog get \(ti
.fi
.SH SEE ALSO
\fBprog\fR(1),
\fBother\fR(8)
`
	if got := string(pages[1].Data); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, want := range []string{".SH DESCRIPTION\nFirst line\n\\&.SH is no request\n\\&\\(aqquoted\\(aq at the start\n.PP\nSecond paragraph:\n.PP\n.nf\n  kept  as it is\n    .x\n.fi\n.PP\nThe end \\(rsfB \\[u2014] \\[u00B0]C.\n",
		".SH COMMANDS\n.TP\n\\fBprog\\-get\\fR(1)\nUDP is asked\n.SH OPTIONS\n", ".SH FILES\n\\(ti/.x\n.PP\nmore\n"} {
		if !strings.Contains(string(pages[0].Data), want) {
			t.Errorf("%q is not in\n%s", want, pages[0].Data)
		}
	}
}

// TestPagesRender has groff read the pages: it warns of nothing, and shows what was meant.
func TestPagesRender(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("groff is missing (apt-get install groff-base)")
	}
	for _, p := range Pages(tree(), conf) {
		cmd := exec.Command("groff", "-man", "-Tutf8", "-wall", "-P-cbou")
		var errs strings.Builder
		cmd.Stdin, cmd.Stderr = strings.NewReader(string(p.Data)), &errs
		out, err := cmd.Output()
		if err != nil || errs.String() != "" {
			t.Errorf("%s: %v: %s", p.Name, err, errs.String())
		}
		if p.Name == "prog.1" && !strings.Contains(string(out), "First line .SH is no request 'quoted' at the start") {
			t.Errorf("groff shows\n%s", out)
		}
	}
}
