package markdown_test

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"rollcall/reports"
	"rollcall/reports/markdown"
	"rollcall/reports/reportstest"
)

// html returns what a reader as that of GitHub makes of a document; raw tags are let through.
func html(t *testing.T, b []byte) string {
	t.Helper()
	if _, err := exec.LookPath("cmark-gfm"); err != nil {
		t.Skip("cmark-gfm is missing (apt-get install cmark-gfm)")
	}
	cmd := exec.CommandContext(t.Context(), "cmark-gfm", "--unsafe", "-e", "table", "-e", "autolink", "-e", "strikethrough", "-e", "tasklist")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestPage(t *testing.T) {
	t.Parallel()
	c := reports.NewCluster([]reports.Host{reportstest.Host(0, 1), {Name: "old", Services: []reports.HostService{{Service: reports.Service{Name: "coffee", Function: "coffee"}}}}})
	b, err := markdown.Face().Write(c)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, want := range []string{"2 hosts, 2 services, 11 points.", "| [pi000](#pi000) | 10.0.0.1 | Raspberry Pi Zero 2 W | `service0` |", "### pi000/service0", "Function test, version 1.0, online.",
		"| `pwm/angle` | float, 0 to 100 | get, set | % |  |  |  | 35.5 |", "\nudpsrv set pi000/service0/output/pump ON\n", "\nmosquitto_pub -h 10.0.0.1 -t /pi000/service0/set/mode -m auto\n",
		"It has no description"} {
		if !strings.Contains(page, want) {
			t.Errorf("%s\nhas no %q", page, want)
		}
	}
	parts, err := markdown.Face().Parts(c)
	if err != nil || len(parts) != 3 || parts[0].Name != "hosts.md" || parts[2].Name != "hosts/pi000.md" || !bytes.HasPrefix(parts[2].Data, []byte("# pi000\n")) {
		t.Errorf("parts %d, %v", len(parts), err)
	}
}

// Nothing that a host says becomes more than text, in the eyes of a real reader of Markdown.
func TestHostile(t *testing.T) {
	t.Parallel()
	c := reportstest.Hostile()
	b, err := markdown.Face().Write(c)
	if err != nil {
		t.Fatal(err)
	}
	page := html(t, b)
	for _, tag := range []string{"<script", "<img", "<!--", "<style", "<em>", "<strong>", "<del>", "<evil"} {
		if strings.Contains(page, tag) {
			t.Errorf("the page has %s", tag)
		}
	}
	for _, link := range regexp.MustCompile(`href="[^"]*"`).FindAllString(page, -1) {
		if !strings.HasPrefix(link, `href="#host`) {
			t.Errorf("the page has %s", link)
		}
	}
	headings, rows := 1, 1
	for _, h := range c.Hosts {
		headings += 1 + len(h.Services)
		rows += 1 + 1 + len(h.Facts()) // in the list; heading and rows of the facts
		for _, s := range h.Services {
			rows += 1 + len(s.Points)
		}
	}
	if got := len(regexp.MustCompile(`<h[1-6]>`).FindAllString(page, -1)); got != headings {
		t.Errorf("%d headings, want %d", got, headings)
	}
	if got := strings.Count(page, "<tr>"); got != rows {
		t.Errorf("%d rows, want %d", got, rows)
	}
	if got := strings.Count(page, "<pre>"); got != len(c.Hosts) {
		t.Errorf("%d blocks of commands, want %d", got, len(c.Hosts))
	}
}

// What Text makes is shown as the text it was.
func TestText(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"plain", "a_b_c *d* `e`", "<b>&lt;</b>", `\| \\`, "[x](http://evil) ![y](z)", "http://evil www.evil.org", "$x$ ~~y~~", "°C 20 %", "1. # - +"} {
		page := html(t, []byte("x "+markdown.Text(s)))
		shown := strings.NewReplacer("<p>", "", "</p>", "", "&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&").Replace(page)
		if got := strings.TrimSpace(shown); got != "x "+s || strings.Contains(page, "<a") {
			t.Errorf("Text(%q) is shown as %q", s, got)
		}
	}
}
