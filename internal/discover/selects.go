package discover

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"rollcall/internal/census"
	"rollcall/reports"
)

// call returns the part of the request that decides who answers it.
func (r *Request) call() census.Call {
	return census.Call{Sample: r.Sample, Lo: r.Lo, Hi: r.Hi, Salt: r.Salt, Filter: r.Filter, Hashes: r.FilterHashes}
}

// maxTerms bounds the terms of a selector, maxWant their bytes.
const (
	maxTerms = 8
	maxWant  = 256
)

// keys of the terms of a selector.
const (
	keyName    = "name"
	keyService = "service"
	keyClass   = "class"
)

// labels are the words of a host that selectors are held against, in lower case.
type labels struct {
	name     string
	services []string // names and functions
	classes  []string
}

// labelsOf returns the words of a host.
func labelsOf(h Host) labels {
	l := labels{name: strings.ToLower(h.Hostname)}
	for _, s := range h.Services {
		l.services = append(l.services, strings.ToLower(s.Name), strings.ToLower(s.Function))
		l.classes = append(l.classes, strings.Fields(strings.ToLower(s.Classes))...)
	}
	slices.Sort(l.services)
	slices.Sort(l.classes)
	l.services, l.classes = slices.Compact(l.services), slices.Compact(l.classes)
	return l
}

// wanted reports whether the selector covers the host: every term of it does. "" and "*" cover all.
func wanted(selector string, host labels) bool {
	if selector == "" || selector == "*" {
		return true
	}
	for term := range strings.SplitSeq(strings.ToLower(selector), ",") {
		key, pattern := splitTerm(term)
		among := []string{host.name}
		switch key {
		case keyService:
			among = host.services
		case keyClass:
			among = host.classes
		}
		if !slices.ContainsFunc(among, func(word string) bool {
			ok, err := path.Match(pattern, word)
			return ok && err == nil
		}) {
			return false
		}
	}
	return true
}

// splitTerm returns the key of a term, which is the name where none is said, and its pattern.
func splitTerm(term string) (key, pattern string) {
	key, pattern, ok := strings.Cut(term, "=")
	if !ok {
		return keyName, term
	}
	return strings.ToLower(key), pattern
}

// ValidSelector returns an error unless s is "" or terms with commas between them, each a pattern of host names, or
// service=PATTERN, or class=PATTERN (name=PATTERN is the same as PATTERN), in which * and ? stand for any characters.
func ValidSelector(s string) error {
	if s == "" {
		return nil
	}
	terms := strings.Split(s, ",")
	if len(s) > maxWant || len(terms) > maxTerms {
		return fmt.Errorf("selector %.64q: %d bytes and %d terms at most", s, maxWant, maxTerms)
	}
	for _, term := range terms {
		key, pattern := splitTerm(term)
		if key != keyName && key != keyService && key != keyClass {
			return fmt.Errorf("selector %.64q: %.64q is none of name, service, class", s, key)
		}
		if pattern == "" {
			return fmt.Errorf("selector %.64q: a term is empty", s)
		}
		if err := validPattern(pattern); err != nil {
			return fmt.Errorf("selector: %w", err)
		}
	}
	return nil
}

// validPattern returns an error unless s is a name in which * and ? may stand.
func validPattern(s string) error {
	if strings.Trim(s, "*?") == "" && len(s) <= reports.MaxName {
		return nil
	}
	if err := reports.ValidName(strings.NewReplacer("*", "", "?", "").Replace(s)); err != nil || len(s) > reports.MaxName {
		return fmt.Errorf("pattern %.64q: only A-Z, a-z, 0-9, _, -, * and ? are allowed, %d bytes at most", s, reports.MaxName)
	}
	return nil
}
