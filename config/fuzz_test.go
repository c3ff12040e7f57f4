package config

import (
	"os"
	"path/filepath"
	"testing"
)

func addSeeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("Glob = %d files, %v", len(files), err)
	}
	for _, file := range files {
		doc, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(doc) < 4096 {
			f.Add(doc)
		}
	}
	for _, s := range []string{"", "{}", "[]", "a: |\n b", `{"a":[1,2.5,"x",null,true,{}]}`, "a: >-\n  x\n\n  y\n# c\n", "- - a\n  - b\n-\n  c: d", "? a\n: b", "a: 'b''c'"} {
		f.Add([]byte(s))
	}
}

// FuzzParse holds that no document makes Parse panic, that its errors are one line, and that what it accepts is valid.
func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := parse("f.yaml", doc, testHostname)
		if err != nil {
			checkOneLine(t, err)
			return
		}
		if err := c.check(); err != nil {
			t.Errorf("parse accepted what check refuses: %v", err)
		}
		if (c.Broker.Listen == "") == (c.Broker.URL == "") || c.Host == "" {
			t.Errorf("parse gives %+v", c)
		}
		for _, a := range c.Agents {
			if checkName(a.Name) != nil || a.Kind == "" {
				t.Errorf("parse gives an agent %q of kind %q", a.Name, a.Kind)
			}
		}
	})
}

// FuzzParseNode holds that no document makes ParseNode or Decode panic, that errors are one line, and that what is read can be
// written and read again.
func FuzzParseNode(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		n, err := ParseNode("f.yaml", doc)
		if err != nil {
			checkOneLine(t, err)
			return
		}
		var v any
		if err := n.Decode(&v); err != nil {
			t.Fatalf("Decode into any: %v", err)
		}
		if err := n.Decode(&everything{}); err != nil {
			checkOneLine(t, err)
		}
		out, err := Marshal(n)
		if err != nil {
			checkOneLine(t, err)
			return
		}
		again, err := ParseNode("f.yaml", out)
		if err != nil || !again.Equal(n) {
			t.Errorf("%q reads back as %q, %v", doc, out, err)
		}
	})
}
