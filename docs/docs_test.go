// Package docs holds the tests of the documents: the generated one is current, and every shell line does what it says.
package docs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/lab"
	"rollcall/reports/live"
)

var update = flag.Bool("update", false, "write the generated documents anew (make docs)")

func TestMain(m *testing.M) {
	code := m.Run()
	lab.RemoveBinaries()
	os.Exit(code)
}

// reference returns docs/configuration.md, made from the types.
func reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

One YAML file a host, read by ` + "`udpmon --config FILE` and `agentd --config FILE [--only NAME]`" + `. Keys are strict: a word that is not
here is refused with the file, the line and what it may have meant. All keys have defaults; an empty file is a working host.
` + "`--check`" + ` says what is wrong with a file and starts nothing. SIGHUP (` + "`systemctl reload`" + `) reads it again; a file with a mistake is
refused and the old one stays in force.

This page is generated (` + "`make docs`" + `).

`)
	table := func(keys []config.Key) { keyTable(&b, keys) }
	host := config.Default()
	host.Host = ""
	table(config.Keys("", &host))
	b.WriteString("## agents\n\n`agents` is a map from the name of a service to its options. The kind of agent is the name, unless `agent:` says\notherwise. Three keys belong to every agent:\n\n")
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n| `agents.NAME.agent` | text | `NAME` | the kind of agent: one of those below |\n| `agents.NAME.log` | text | `off` | off, debug, info, warn or error: which records of its log the service publishes on `/<host>/<service>/log`, those of the level and above |\n| `agents.NAME.points.PATTERN` | map | | what the runner does with the values of the points whose path matches, with the keys below |\n\n")
	b.WriteString("Values pass scale, offset, min and max, digits, in this order; then it is decided whether they are published. " +
		"A\npattern is a path with `*` for any part of a segment, `?` and `[a-z]` for one character. Where several match a path, the path itself\n" +
		"goes before every pattern, and a longer pattern before a shorter one, key by key.\n\n")
	table(config.Keys("agents.NAME.points.PATTERN", &config.Filter{}))
	b.WriteString("The other keys are those of the kind of agent; each has a page with its keys, its wiring, an example and its points:\n\n")
	for _, f := range agents.All() {
		fmt.Fprintf(&b, "- [%s](agents/%s.md): %s\n", f.Name, f.Name, f.Doc)
	}
	b.WriteString("\n## faces\n\n`faces` is a map from the name of a protocol to its options. The host speaks those that are named there beside its own; see [the page about them](faces.md).\n\n")
	for _, f := range live.All() {
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n", f.Name, strings.ToUpper(f.Doc[:1])+f.Doc[1:])
		keyTable(&b, config.Keys("faces."+f.Name, f.Defaults()))
		fmt.Fprintf(&b, "```yaml\nfaces:\n  %s:\n%s```\n\n", f.Name, indent(f.Example))
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// keyTable writes what keys there are.
func keyTable(b *strings.Builder, keys []config.Key) {
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, k := range keys {
		def := ""
		if k.Default != "" {
			def = "`" + cell(k.Default) + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.Path, cell(k.Type), def, cell(k.Doc))
	}
	b.WriteString("\n")
}

// cell writes a text so that it stays in its cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func TestGenerated(t *testing.T) {
	want := reference()
	if *update {
		if err := os.WriteFile("configuration.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/configuration.md is not what the types say: run make docs")
	}
}

// TestYAML reads every YAML block of the documents as the configuration that it shows a part of.
func TestYAML(t *testing.T) {
	for _, doc := range documents(t) {
		for i, b := range blocks(t, doc, "yaml") {
			if _, err := config.Parse(fmt.Sprintf("%s block %d", doc, i+1), []byte(b.text)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := config.Load("../config/example.yaml"); err != nil {
		t.Error(err)
	}
}

func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, doc := range documents(t) {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
	}
}

// documents returns the files that have examples, from this folder.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("agents/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat([]string{"../README.md"}, files, pages)
}

// block is a fenced block, with the words of the comment before it: <!-- on: pizero2 -->, <!-- fails -->.
type block struct{ text, note string }

func blocks(t *testing.T, doc, language string) []block {
	t.Helper()
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	fence := regexp.MustCompile("(?s)(?:<!-- ([^>]*) -->\n)?```" + language + "\n(.*?)```\n")
	var out []block
	for _, m := range fence.FindAllStringSubmatch(string(b), -1) {
		out = append(out, block{text: m[2], note: m[1]})
	}
	return out
}
