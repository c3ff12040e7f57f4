package agents

import (
	"fmt"
	"slices"
)

// Keys of faults that concern no single point; the others are the points' paths.
const (
	faultAgent = "(agent)"
	faultStuck = "(call)"
)

// faults are what is wrong with a service at present, the latest last.
type faults []fault

type fault struct{ key, text string }

// set notes a fault and reports whether the text of the error topic changes by that.
func (f *faults) set(key, text string) bool {
	if i := f.index(key); i >= 0 {
		if (*f)[i].text == text {
			return false
		}
		*f = slices.Delete(*f, i, i+1)
	}
	*f = append(*f, fault{key, text})
	return true
}

// clear takes a fault away and reports whether there was one.
func (f *faults) clear(key string) bool {
	i := f.index(key)
	if i < 0 {
		return false
	}
	*f = slices.Delete(*f, i, i+1)
	return true
}

// keep takes all faults away but those whose key is to be kept.
func (f *faults) keep(kept func(key string) bool) {
	*f = slices.DeleteFunc(*f, func(x fault) bool { return !kept(x.key) })
}

// text returns the latest fault and how many others there are, or nothing.
func (f faults) text() string {
	switch len(f) {
	case 0:
		return ""
	case 1:
		return f[0].text
	}
	return fmt.Sprintf("%s (and %d more)", f[len(f)-1].text, len(f)-1)
}

func (f faults) index(key string) int {
	return slices.IndexFunc(f, func(x fault) bool { return x.key == key })
}
