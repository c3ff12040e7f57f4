package original

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"rollcall/gpio"
	"rollcall/reports"
)

// key is one key of a block.
type key struct {
	name string
	also []string // how else it is spelt
	bare string   // its value if none stands there; "": one must
	set  func(b *Block, value string) error
	text func(b *Block) string // the value as set reads it, "" for the default
}

// keysOf returns the keys that a kind of block knows.
func keysOf(k Kind) []key {
	common := []key{
		textKey("name", reports.ValidName, func(b *Block) *string { return &b.Name }),
		textKey("pin", validPin, func(b *Block) *string { return &b.Pin }),
		{name: "pol", also: []string{"polarity", "active_low", "inverted", "invert"}, bare: "inv", set: setPolarity, text: polarityText},
	}
	pull := wordKey("pull", []string{"pull_up_down", "pud"}, pulls(), func(b *Block) *gpio.Bias { return &b.Pull })
	switch k {
	case Output:
		return append(common, pull,
			wordKey("init", []string{"initial"}, initials(), func(b *Block) *string { return &b.Initial }),
			wordKey("drive", []string{"type"}, drives(), func(b *Block) *gpio.Drive { return &b.Drive }),
			flagKey("single", func(b *Block) *bool { return &b.Single }),
			timeKey("pulse", 0, 1, func(b *Block) *time.Duration { return &b.Pulse }),
			timeKey("max_on", 0, 0, func(b *Block) *time.Duration { return &b.MaxOn }))
	case PWM:
		return append(common,
			key{name: "init", also: []string{"initial"}, set: setPercent, text: percentText},
			timeKey("period", time.Microsecond, 1, func(b *Block) *time.Duration { return &b.Period }))
	}
	return append(common, pull, key{name: "on_change", bare: "true", set: setOnChange, text: func(b *Block) string { return b.OnChange }},
		timeKey("scan", time.Second, 0, func(b *Block) *time.Duration { return &b.Scan }),
		timeKey("debounce", 0, 0, func(b *Block) *time.Duration { return &b.Debounce }),
		wordKey("edge", nil, edges(), func(b *Block) *string { return &b.Edge }),
		flagKey("count", func(b *Block) *bool { return &b.Count }))
}

// findKey returns the key of a kind of block that a word means, in large or small letters, with _, - or nothing between words.
func findKey(kind Kind, word string) (key, bool) {
	if len(word) > maxShown {
		return key{}, false
	}
	for _, k := range keysOf(kind) {
		if slices.ContainsFunc(append(k.also, k.name), func(name string) bool { return squeeze(name) == squeeze(word) }) {
			return k, true
		}
	}
	return key{}, false
}

func namesOf(kind Kind) []string {
	var names []string
	for _, k := range keysOf(kind) {
		names = append(names, k.name)
	}
	return names
}

// squeeze returns a word in small letters without what people put between its parts.
func squeeze(s string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s))
}

// spelling is a value and the words for it, squeezed; the first is the one that people are told of.
type spelling struct {
	value string
	words []string
}

func pulls() []spelling {
	return []spelling{
		{string(gpio.PullUp), []string{"up", "pullup", "pudup"}},
		{string(gpio.PullDown), []string{"down", "pulldown", "puddown"}},
		{string(gpio.PullNone), []string{"none", "off", "no", "pullnone", "pulloff", "pudoff", "nopull", "floating"}},
	}
}

func drives() []spelling {
	return []spelling{
		{string(gpio.PushPull), []string{"push-pull", "pp"}},
		{string(gpio.OpenDrain), []string{"open-drain", "od", "oc", "opencollector"}},
		{string(gpio.OpenSource), []string{"open-source", "os", "oe", "openemitter"}},
	}
}

func initials() []spelling {
	return []spelling{{"off", []string{"off", "0", "0%", "false"}}, {"on", []string{"on", "1", "100%", "true"}},
		{"keep", []string{"keep"}}, {"restore", []string{"restore"}}}
}

func edges() []spelling {
	return []spelling{{"both", []string{"both"}}, {"rising", []string{"rising"}}, {"falling", []string{"falling"}}}
}

func bools() []spelling {
	return []spelling{{"true", []string{"on", "1", "true", "yes"}}, {"false", []string{"off", "0", "false", "no"}}}
}

// read returns the value that a word means.
func read(spellings []spelling, word string) (string, error) {
	var known []string
	plain := strings.ToLower(word)
	if len(word) <= maxShown && word != "" && unicode.IsLetter(rune(word[0])) {
		plain = squeeze(word) // but -1 is not 1
	}
	for _, s := range spellings {
		if plain == squeeze(s.words[0]) || slices.Contains(s.words, plain) {
			return s.value, nil
		}
		known = append(known, s.words[0])
	}
	if near := closest(strings.ToLower(word), known); near != "" {
		return "", fmt.Errorf("%s is not %s; did you mean %s?", show(word), list(known), near)
	}
	return "", fmt.Errorf("%s is not %s", show(word), list(known))
}

func textKey(name string, valid func(string) error, field func(*Block) *string) key {
	return key{name: name, text: func(b *Block) string { return *field(b) },
		set: func(b *Block, value string) error {
			*field(b) = value
			return valid(value)
		}}
}

func wordKey[T ~string](name string, also []string, spellings []spelling, field func(*Block) *T) key {
	return key{name: name, also: also, text: func(b *Block) string { return string(*field(b)) },
		set: func(b *Block, value string) error {
			v, err := read(spellings, value)
			*field(b) = T(v)
			return err
		}}
}

func flagKey(name string, field func(*Block) *bool) key {
	return key{name: name, bare: "true",
		text: func(b *Block) string {
			if *field(b) {
				return "on"
			}
			return ""
		},
		set: func(b *Block, value string) error {
			v, err := read(bools(), value)
			*field(b) = v == "true"
			return err
		}}
}

// timeKey is a time of at least so much; a number without a unit is of the plain unit, or refused if that is 0.
func timeKey(name string, plain, least time.Duration, field func(*Block) *time.Duration) key {
	return key{name: name,
		text: func(b *Block) string {
			if *field(b) == 0 {
				return ""
			}
			return field(b).String()
		},
		set: func(b *Block, value string) error {
			d, err := readTime(value, plain)
			if err == nil && d < least {
				err = fmt.Errorf("%s is too short", show(value))
			}
			*field(b) = d
			return err
		}}
}

// decimal is a number as people write it; strconv knows inf, hexadecimals and powers too.
var decimal = regexp.MustCompile(`^[0-9]{1,18}(\.[0-9]{1,18})?$`)

func readTime(value string, plain time.Duration) (time.Duration, error) {
	var d time.Duration
	var err error
	switch text := strings.Join(strings.Fields(value), ""); {
	case decimal.MatchString(text):
		n, numErr := strconv.ParseFloat(text, 64)
		if n != 0 && plain == 0 {
			return 0, fmt.Errorf("%s has no unit: say %sms or %ss", show(value), text, text)
		}
		d, err = time.Duration(math.Round(min(n*float64(plain), 2*float64(MaxTime)))), numErr
	case len(text) > maxShown:
		err = errors.New("too long")
	default:
		d, err = time.ParseDuration(text)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is no time like 500us, 20ms, 5s or 1m30s", show(value))
	case d < 0:
		return 0, fmt.Errorf("%s is negative", show(value))
	case d > MaxTime:
		return 0, fmt.Errorf("%s is longer than ten years", show(value))
	}
	return d, nil
}

// setPolarity takes the words of pol, and those of a flag that says whether it is inverted.
func setPolarity(b *Block, value string) error {
	v, err := read([]spelling{
		{"norm", []string{"norm", "normal", "off", "0", "false", "no", "high", "activehigh"}},
		{"inv", []string{"inv", "inverted", "inverse", "on", "1", "true", "yes", "low", "activelow"}},
	}, value)
	b.Inverted = v == "inv"
	return err
}

func polarityText(b *Block) string {
	if b.Inverted {
		return "inv"
	}
	return ""
}

func setPercent(b *Block, value string) error {
	switch word, err := read(bools(), value); {
	case value == "1" || err != nil: // 1 is one percent
	case word == "true":
		b.Percent = 100
		return nil
	default:
		return nil
	}
	text := strings.TrimSpace(strings.TrimSuffix(value, "%"))
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !decimal.MatchString(text) || n > 100 {
		return fmt.Errorf("%s is not a number of percent from 0 to 100", show(value))
	}
	b.Percent = n
	return nil
}

func percentText(b *Block) string {
	if b.Percent == 0 {
		return ""
	}
	return strconv.FormatFloat(b.Percent, 'f', -1, 64)
}

// setOnChange takes a topic. The words of a flag are no topics here.
func setOnChange(b *Block, value string) error {
	word, err := read(bools(), value)
	if err != nil {
		word, err = value, reports.ValidTopic(value)
	}
	b.OnChange = word
	return err
}

// validPin returns an error unless s can be written as a pin in a block.
func validPin(s string) error {
	switch {
	case len(s) > MaxPin:
		return fmt.Errorf("%s has %d bytes, at most %d are possible", show(s), len(s), MaxPin)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || comment(s) < len(s) || strings.TrimSpace(s) != s:
		return fmt.Errorf("%s is no pin: it is 25, GPIO25, pin22 (header position) or the name of a line", show(s))
	}
	return nil
}
