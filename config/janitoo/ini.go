package janitoo

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"rollcall/config"
)

// Bounds of a file. Janitoo's own have some sixty lines.
const (
	MaxBytes    = 64 << 10
	maxSections = 500
	maxKeys     = 5000
	maxName     = 128  // bytes of the name of a section or a key
	maxValue    = 1024 // bytes of a value
)

// defaultSection is the section whose keys stand in all others (Python's ConfigParser, DEFAULTSECT).
const defaultSection = "DEFAULT"

// section is a section of a file, with its keys in the order in which they stand.
type section struct {
	name string
	line int
	keys []*key
	file *file
}

// key is a line of a section.
type key struct {
	name  string // in small letters, as Python has them
	value string
	line  int
	taken bool // it was carried over, or somebody has said why not
	from  *key // the one of [DEFAULT] that it stands for
}

// file is a file of Janitoo.
type file struct {
	name     string
	sections []*section
	notes    *[]Note
}

// reader reads a file line by line.
type reader struct {
	*file
	keys int
	at   *section
	last *key // which an indented line goes on with
}

// parse reads a file as Python 2's RawConfigParser does (cpython, Lib/ConfigParser.py): keys in small letters, "=" or ":" after
// them, comments that begin with "#", ";" or "rem ", or with " ;" after a value, indented lines that go on with the value before,
// a section or key that stands twice counting as one. An error has file and line.
func parse(name string, doc []byte, notes *[]Note) (*file, error) {
	r := reader{file: &file{name: name, notes: notes}}
	switch {
	case len(doc) > MaxBytes:
		return nil, r.errorf(0, "has more than %d bytes", MaxBytes)
	case !utf8.Valid(doc):
		return nil, r.errorf(0, "is not UTF-8")
	}
	n := 0
	for raw := range bytes.Lines(bytes.TrimPrefix(doc, []byte("\ufeff"))) {
		n++
		if err := r.line(n, strings.TrimRight(string(raw), "\r\n")); err != nil {
			return nil, err
		}
	}
	return r.file, r.spread()
}

func (f *file) errorf(line int, format string, args ...any) error {
	return &config.Error{File: f.name, Line: line, Text: fmt.Sprintf(format, args...)}
}

func (r *reader) line(n int, text string) error {
	trimmed := strings.TrimSpace(text)
	switch {
	case strings.ContainsRune(text, 0):
		return r.errorf(n, "has a NUL: this is no file of Janitoo")
	case trimmed == "", text[0] == '#', text[0] == ';', strings.EqualFold(strings.Fields(text)[0], "rem") && (text[0] == 'r' || text[0] == 'R'):
		return nil
	case (text[0] == ' ' || text[0] == '\t') && r.last != nil:
		r.last.value += "\n" + trimmed
		return r.bounded(n, r.last)
	case text[0] == '[':
		return r.header(n, text)
	case r.at == nil:
		return r.errorf(n, "a line before any [section]: this is no file of Janitoo")
	}
	return r.entry(n, text)
}

// header begins a section, or goes on with the one that has the name already.
func (r *reader) header(n int, text string) error {
	name, _, ok := strings.Cut(text[1:], "]")
	if !ok || name == "" || len(name) > maxName {
		return r.errorf(n, "no [section] with a name of at most %d bytes", maxName)
	}
	r.last = nil
	for _, s := range r.sections {
		if s.name == name {
			r.note(n, "[%s] stands in line %d as well; they count as one", shown(name), s.line)
			r.at = s
			return nil
		}
	}
	if len(r.sections) == maxSections {
		return r.errorf(n, "there are more than %d sections", maxSections)
	}
	r.at = &section{name: name, line: n, file: r.file}
	r.sections = append(r.sections, r.at)
	return nil
}

// entry reads "key = value".
func (r *reader) entry(n int, text string) error {
	i := strings.IndexAny(text, "=:")
	name := ""
	if i > 0 {
		name = strings.ToLower(strings.TrimSpace(text[:i]))
	}
	if name == "" || len(name) > maxName {
		return r.errorf(n, "neither a comment nor key = value")
	}
	value := text[i+1:]
	for j := 1; j < len(value); j++ {
		if value[j] == ';' && (value[j-1] == ' ' || value[j-1] == '\t') {
			value = value[:j]
			break
		}
	}
	value = strings.TrimSpace(value)
	if value == `""` {
		value = ""
	}
	if old := r.at.find(name); old != nil {
		r.note(old.line, "[%s] %s stands in line %d as well, which counts", shown(r.at.name), shown(name), n)
		old.value, old.line, r.last = value, n, old
		return r.bounded(n, old)
	}
	if r.keys++; r.keys > maxKeys {
		return r.errorf(n, "there are more than %d keys", maxKeys)
	}
	r.last = &key{name: name, value: value, line: n}
	r.at.keys = append(r.at.keys, r.last)
	return r.bounded(n, r.last)
}

func (r *reader) bounded(n int, k *key) error {
	if len(k.value) > maxValue {
		return r.errorf(n, "the value of %s has more than %d bytes", shown(k.name), maxValue)
	}
	return nil
}

// spread puts the keys of [DEFAULT] into all other sections that lack them.
func (r *reader) spread() error {
	d := r.section(defaultSection)
	if d == nil {
		return nil
	}
	for _, s := range r.sections {
		for _, k := range d.keys {
			if s == d || s.find(k.name) != nil {
				continue
			}
			if r.keys++; r.keys > maxKeys {
				return r.errorf(k.line, "there are more than %d keys with those of [%s] in all sections", maxKeys, defaultSection)
			}
			s.keys = append(s.keys, &key{name: k.name, value: k.value, line: k.line, from: k})
		}
	}
	return nil
}

// section returns the section of that name, or nil.
func (f *file) section(name string) *section {
	for _, s := range f.sections {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (f *file) note(line int, format string, args ...any) {
	*f.notes = append(*f.notes, Note{File: f.name, Line: line, Text: fmt.Sprintf(format, args...)})
}

// find returns the key of that name, or nil.
func (s *section) find(name string) *key {
	for _, k := range s.keys {
		if k.name == name {
			return k
		}
	}
	return nil
}

// take returns the key of that name and marks it as dealt with; nil if there is none.
func (s *section) take(name string) *key {
	k := s.find(name)
	if k != nil {
		k.taken = true
		if k.from != nil {
			k.from.taken = true
		}
	}
	return k
}

// text takes a key and returns its value, "" where there is none.
func (s *section) text(name string) string {
	if k := s.take(name); k != nil {
		return k.value
	}
	return ""
}

// refuse says why a line was not carried over, unless it says nothing. Of [DEFAULT] only what no section takes is told of, once.
func (s *section) refuse(k *key, format string, args ...any) {
	k.taken = true
	if k.value == "" || k.from != nil {
		return
	}
	s.file.note(k.line, "[%s] %s: %s", shown(s.name), shown(k.name), fmt.Sprintf(format, args...))
}

// rest says of all lines that nobody has taken that they were not carried over.
func (s *section) rest(why string) {
	for _, k := range s.keys {
		if !k.taken {
			s.refuse(k, "%s", why)
		}
	}
}

// shown returns a name from a file as it may stand in a sentence.
func shown(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
