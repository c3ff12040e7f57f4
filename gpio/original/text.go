package original

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"rollcall/config"
)

// separator may stand between two blocks.
const separator = "---"

// IsBlocks reports whether a document is meant as text blocks, well made or not. JSON, and YAML with keys and values, are not.
func IsBlocks(doc []byte) bool {
	for _, line := range lines(doc[:min(len(doc), config.MaxBytes)]) {
		if line == "" || line == separator {
			continue
		}
		word, rest := cutBlank(line)
		if strings.HasPrefix(rest, ":") {
			return false
		}
		word = strings.ToLower(word)
		known := kinds()
		return closest(word, known) == word || rest == "" && closest(word, known) != "" && isWord(word)
	}
	return false
}

// isWord reports whether s has letters only, as no key of YAML with its colon has.
func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) })
}

// Parse reads text blocks. An error is a *config.Error with the line.
func Parse(doc []byte) ([]Block, error) {
	if err := checkText(doc); err != nil {
		return nil, err
	}
	p := parser{set: newSet()}
	for i, line := range lines(doc) {
		if err := p.line(i+1, line); err != nil {
			return nil, err
		}
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	if len(p.set.blocks) == 0 {
		return nil, fault(0, "there is no block; one begins with %s", list(kinds()))
	}
	return p.set.blocks, nil
}

// parser reads text blocks line by line.
type parser struct {
	set  *set
	now  *Block         // the block that the next keys belong to
	seen map[string]int // the lines of its keys
}

func (p *parser) line(n int, line string) error {
	if line == "" {
		return nil // a blank line may stand within a block too: another block begins with its kind anyway
	}
	if line == separator {
		return p.end()
	}
	word, value := cutBlank(line)
	if kind := strings.ToLower(word); closest(kind, kinds()) == kind {
		if value != "" {
			return fault(n, "%s: %s stands behind it; its keys stand in lines of their own", kind, show(value))
		}
		if err := p.end(); err != nil {
			return err
		}
		p.seen = map[string]int{}
		p.now = &Block{Kind: Kind(kind), Line: n, Says: p.seen}
		return nil
	}
	if p.now == nil {
		return fault(n, "%s is no kind of block; %s", show(word), suggest(word, kinds()))
	}
	return p.key(n, word, value)
}

// key takes one key of the block.
func (p *parser) key(n int, word, value string) error {
	k, ok := findKey(p.now.Kind, word)
	if !ok {
		return fault(n, "%s knows no key %s; %s", p.now.Kind, show(word), suggest(word, namesOf(p.now.Kind)))
	}
	if first := p.seen[k.name]; first != 0 {
		return fault(n, "%s stands twice; first in line %d", k.name, first)
	}
	p.seen[k.name] = n
	if value == "" {
		value = k.bare
	}
	if value == "" {
		return fault(n, "%s has no value", k.name)
	}
	if err := k.set(p.now, value); err != nil {
		return fault(n, "%s: %w", k.name, err)
	}
	return nil
}

// end takes the block that has been read, if there is one.
func (p *parser) end() error {
	if p.now == nil {
		return nil
	}
	b := *p.now
	p.now = nil
	return p.set.add(b)
}

// checkText refuses what is too long or no text.
func checkText(doc []byte) error {
	if len(doc) > config.MaxBytes {
		return fault(0, "has %d bytes, at most %d are allowed", len(doc), config.MaxBytes)
	}
	line := 1
	for i := 0; i < len(doc); {
		r, size := utf8.DecodeRune(doc[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return fault(line, "byte %#02x is not UTF-8", doc[i])
		case r == '\n':
			line++
		case unicode.IsControl(r) && r != '\t' && r != '\r' || r == '\u2028' || r == '\u2029':
			return fault(line, "character %U is not allowed", r)
		}
		i += size
	}
	return nil
}

// lines returns the lines of a document without comments and the blanks around them.
func lines(doc []byte) []string {
	doc = bytes.TrimPrefix(doc, []byte("\uFEFF"))
	out := strings.Split(string(doc), "\n")
	for i, line := range out {
		out[i] = strings.TrimSpace(line[:comment(line)])
	}
	return out
}

// comment returns where the comment of a line begins: at a # that is the first character or has a blank before it.
func comment(line string) int {
	blank := true
	for i, r := range line {
		if r == '#' && blank {
			return i
		}
		blank = unicode.IsSpace(r)
	}
	return len(line)
}

// cutBlank returns the first word of a line and what follows it.
func cutBlank(line string) (word, rest string) {
	i := strings.IndexFunc(line, unicode.IsSpace)
	if i < 0 {
		return line, ""
	}
	return line[:i], strings.TrimSpace(line[i:])
}

func kinds() []string { return []string{string(Output), string(PWM), string(Input)} }

// maxShown is how many bytes of a text from outside an error repeats.
const maxShown = 60

// show quotes a text from outside for an error.
func show(s string) string {
	if len(s) <= maxShown {
		return fmt.Sprintf("%q", s)
	}
	n := maxShown
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%q…", s[:n])
}

// list joins words: a, b or c.
func list(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// suggest returns the end of a message about an unknown word: the known word that is meant, if one is near, and all of them.
func suggest(word string, known []string) string {
	if near := closest(strings.ToLower(word), known); near != "" {
		return fmt.Sprintf("did you mean %s? known are %s", near, strings.Join(known, ", "))
	}
	return "known are " + strings.Join(known, ", ")
}

// closest returns the known word that is nearest to a word in small letters, or "" if none is near: a third of its letters may be
// others. Of two that are as near, that which begins with the word is meant.
func closest(word string, known []string) string {
	if len(word) > maxShown {
		return ""
	}
	best, least := "", 2*(2+len(word)/3)-1
	for _, k := range known {
		cost := 2 * config.EditDistance(word, strings.ToLower(k))
		if strings.HasPrefix(k, word) {
			cost--
		}
		if cost < least {
			best, least = k, cost
		}
	}
	return best
}
