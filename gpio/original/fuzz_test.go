package original

import (
	"strings"
	"testing"

	"rollcall/config"
	"rollcall/reports"
)

// checkBlocks holds that what was read is valid, and the same when it is written and read again.
func checkBlocks(t *testing.T, blocks []Block) {
	t.Helper()
	if len(blocks) == 0 || len(blocks) > MaxBlocks {
		t.Fatalf("%d blocks", len(blocks))
	}
	var doc strings.Builder
	names := map[string]bool{}
	for i, b := range blocks {
		if reports.ValidName(b.Name) != nil || b.Pin == "" || len(b.Pin) > MaxPin || b.Line < 1 || names[b.Name] {
			t.Errorf("block %+v is not valid", b)
		}
		names[b.Name] = true
		doc.WriteString(b.String() + "---\n")
		blocks[i].Line = 0
	}
	again, err := Parse([]byte(doc.String()))
	for i := range again {
		again[i].Line = 0
	}
	if diff := diffBlocks(blocks, again); doc.Len() <= config.MaxBytes && (err != nil || diff != "") {
		t.Errorf("written as %q, read as %v:\n%s", doc.String(), err, diff)
	}
}

// checkFault holds that an error is one line of bounded length.
func checkFault(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); strings.ContainsAny(s, "\r\n") || len(s) > 1000 {
		t.Errorf("error %q is not one line", s)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{asked, "pwm\nname a\npin pin12\ninit 20%\nperiod 1000\npol inv\n---\ninput # c\r\nname b\npin GPIO3\non_change /a/b\nscan 1.5\n\noutput\nname c\npin RST#\ntype OC\npulse 5ms",
		"input\nname a\npin 1\nedge both\ncount\ndebounce 1us\npull PUD_UP", "output\nname a\npin a b\nmax_on 1h\nactive_low", "outptu", "output x", "\uFEFFinput\n#\n---"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		blocks, err := Parse(doc)
		if err != nil {
			checkFault(t, err)
			return
		}
		if !IsBlocks(doc) || IsPins(doc) {
			t.Errorf("Parse takes %q, but IsBlocks = %v, IsPins = %v", doc, IsBlocks(doc), IsPins(doc))
		}
		checkBlocks(t, blocks)
	})
}

func FuzzParsePins(f *testing.F) {
	for _, s := range []string{askedPins, `{"a":{"Pin":"GPIO3","Dir":"in","PD":null},"b":{"pin":"a b","dir":"Out","value":false}}`,
		"a: {pin: 4, dir: output, type: OC, value: on}\nb:\n  Pin: x#\n  Dir: Input", `{"a":{"Pin":1},"A":{}}`, "{}", "[]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		blocks, err := ParsePins(doc)
		if err != nil {
			checkFault(t, err)
			return
		}
		if IsBlocks(doc) {
			t.Errorf("ParsePins takes %q, but IsBlocks = true", doc)
		}
		checkBlocks(t, blocks)
	})
}
