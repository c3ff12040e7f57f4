package agents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"rollcall/reports"
)

// displayPoints are the points of a display.
func displayPoints() []reports.Point {
	rw := reports.Get | reports.Set
	points := []reports.Point{
		{Path: "dsp1", Label: "Display 1", Help: "Text of the four digits on the left; five to eight go on in dsp2", Type: reports.String, Access: rw, Genre: reports.Basic},
		{Path: "dsp2", Label: "Display 2", Help: "Text of the four digits on the right", Type: reports.String, Access: rw, Genre: reports.Basic},
	}
	for i := range tm1638Digits {
		points = append(points, reports.Point{Path: fmt.Sprintf("led%d", i), Label: fmt.Sprintf("LED %d", i), Type: reports.Bool, Class: "light", Access: rw, Genre: reports.Basic})
	}
	return append(points,
		reports.Point{Path: "brightness", Label: "Brightness", Help: "0: off", Type: reports.Int, Access: rw, Genre: reports.User,
			Min: reports.Ptr(0), Max: reports.Ptr(tm1638Brightest), Step: reports.Ptr(1)},
		reports.Point{Path: "buts", Label: "Buttons", Help: "The buttons that are down, whenever that changes: the sum of 1 for S1, 2 for S2, 4 for S3 … 128 for S8", Type: reports.Int,
			Access: reports.Event, Genre: reports.Basic, Min: reports.Ptr(0), Max: reports.Ptr(tm1638KeysMost)})
}

// displayState is what is shown. States can be compared.
type displayState struct {
	text       [2]string // as tm1638Text writes it
	leds       [tm1638Digits]bool
	brightness int
}

// displayHalf is how many digits dsp1 and dsp2 have each.
const displayHalf = tm1638Digits / 2

// value returns the value of a point, or nil if the state has none.
func (s displayState) value(path string) any {
	switch i, isLED := displayLED(path); {
	case isLED:
		return s.leds[i]
	case path == "dsp1":
		return s.text[0]
	case path == "dsp2":
		return s.text[1]
	case path == "brightness":
		return int64(s.brightness)
	}
	return nil
}

// displayLED returns the number of the LED that a path names.
func displayLED(path string) (int, bool) {
	tail, ok := strings.CutPrefix(path, "led")
	if !ok || len(tail) != 1 || tail[0] < '0' || tail[0] >= '0'+tm1638Digits {
		return 0, false
	}
	return int(tail[0] - '0'), true
}

// memory returns what the chip must have.
func (s displayState) memory() tm1638Memory {
	var m tm1638Memory
	for half, text := range s.text {
		cells, _ := tm1638Cells(text, displayHalf) // with has checked it
		for i, c := range cells {
			m[2*(half*displayHalf+i)] = c.segments()
		}
	}
	for i, on := range s.leds {
		if on {
			m[2*i+1] = 1
		}
	}
	return m
}

// displayChange is a point with what it is to be, which may be reports.Toggle.
type displayChange struct {
	path  string
	value any
}

// with returns the state after the changes, made in their order. on is the brightness of a display that is switched on.
func (s displayState) with(changes []displayChange, on int) (displayState, error) {
	for _, c := range changes {
		i, isLED := displayLED(c.path)
		switch v := c.value.(type) {
		case string:
			if err := s.write(c.path, v); err != nil {
				return s, err
			}
		case bool:
			switch {
			case isLED:
				s.leds[i] = v
			case c.path == displayClear:
				if v {
					s = displayState{brightness: s.brightness}
				}
			case c.path == displayOn && v:
				s.brightness = max(on, 1)
			case c.path == displayOn:
				s.brightness = 0
			default:
				return s, errDisplayUnknown(c)
			}
		case int64:
			if c.path != "brightness" {
				return s, errDisplayUnknown(c)
			}
			s.brightness = int(v)
		default:
			if c.value != reports.Toggle || !isLED {
				return s, errDisplayUnknown(c)
			}
			s.leds[i] = !s.leds[i]
		}
	}
	return s, nil
}

func errDisplayUnknown(c displayChange) error {
	return reports.Errorf(reports.CodeUnknown, "%.140q can't be set to a %T", c.path, c.value)
}

// write puts a text on dsp1 or dsp2.
func (s *displayState) write(path, text string) error {
	half, most := 0, tm1638Digits
	switch path {
	case "dsp1":
	case "dsp2":
		half, most = 1, displayHalf
	default:
		return errDisplayUnknown(displayChange{path, text})
	}
	cells, err := tm1638Cells(text, most)
	if err != nil {
		return err
	}
	s.text[half] = tm1638Text(cells[:min(len(cells), displayHalf)])
	if len(cells) > displayHalf {
		s.text[1] = tm1638Text(cells[displayHalf:])
	}
	return nil
}

// The words that only a block has.
const (
	displayClear = "clear" // all digits and LEDs off
	displayOn    = "on"    // as bright as in the options, or off
)

// displayParse reads a block:
//
//   - JSON: {"dsp1":"12.34","led0":1,"brightness":3,"clear":true,"on":true};
//   - lines of a key and a value, as the original's blocks have them, with or without a colon, after "display" or not;
//   - a text for all eight digits, or, where words is true, one of the words on, off and clear instead.
//
// JSON and lines may have the keys id and reply, which are the runner's.
func displayParse(block []byte, words bool) ([]displayChange, error) {
	if len(block) > displayLongest {
		return nil, reports.Errorf(reports.CodeTooLarge, "%d bytes are more than a display needs", len(block))
	}
	if bytes.HasPrefix(bytes.TrimSpace(block), []byte("{")) {
		return displayJSON(block)
	}
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(string(block), "\r\n", "\n"), "\n"), "\n")
	if strings.TrimSpace(lines[0]) == "display" && len(lines) > 1 {
		lines = lines[1:]
	}
	key, value := displayLine(lines[0])
	if p := displayPoint(key); p.Type == reports.String || p.Path != "" && value != "" { // dsp1 alone is a dsp1 without text
		return displayLines(lines)
	}
	switch word := strings.ToLower(strings.TrimSpace(lines[0])); {
	case words && len(lines) > 1, words && word != "on" && word != "off" && word != displayClear:
		return nil, reports.Errorf(reports.CodeBadPayload, "%.40q is neither on, off nor clear, nor a block of dsp1, dsp2, led0 to led7 and brightness", lines[0])
	case words && word == displayClear:
		return []displayChange{{displayClear, true}}, nil
	case words:
		return []displayChange{{displayOn, word == "on"}}, nil
	case len(lines) > 1:
		return nil, reports.Errorf(reports.CodeBadPayload, "a text has one line, this has %d", len(lines))
	}
	return []displayChange{{"dsp2", ""}, {"dsp1", lines[0]}}, nil
}

// displayLongest is how long a block may be, in bytes.
const displayLongest = 1024

// displayPoint returns the point that a key of a block sets; its Path is "" if there is none.
func displayPoint(key string) reports.Point {
	if key == displayClear || key == displayOn {
		return reports.Point{Path: key, Type: reports.Bool, Access: reports.Set}
	}
	for _, p := range displayPoints() {
		if p.Path == key && p.Access.Has(reports.Set) {
			return p
		}
	}
	return reports.Point{}
}

// displayLine takes a line apart.
func displayLine(line string) (key, value string) {
	key, value, _ = strings.Cut(strings.TrimLeft(line, " \t"), " ")
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(key), ":")), value
}

func displayLines(lines []string) ([]displayChange, error) {
	var out []displayChange
	for _, line := range lines {
		key, value := displayLine(line)
		if key == "" || key == "id" || key == "reply" {
			continue
		}
		c, err := displayValue(key, value)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func displayJSON(block []byte) ([]displayChange, error) {
	d := json.NewDecoder(bytes.NewReader(block))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, reports.Errorf(reports.CodeBadPayload, "this is no JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, reports.Errorf(reports.CodeBadPayload, "there is more behind the JSON object")
	}
	delete(object, "id")
	delete(object, "reply")
	var out []displayChange
	// In the order of their names: clear goes before what is shown, and dsp2 overwrites what dsp1 had too much of.
	for _, key := range slices.Sorted(maps.Keys(object)) {
		v := object[key]
		if n, ok := v.(json.Number); ok {
			v = n.String()
		}
		c, err := displayValue(key, v)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, reports.Errorf(reports.CodeBadPayload, "the block says nothing")
	}
	return out, nil
}

// displayValue checks a value of a block.
func displayValue(key string, v any) (displayChange, error) {
	p := displayPoint(key)
	if p.Path == "" {
		return displayChange{}, reports.Errorf(reports.CodeUnknown, "%.40q is not dsp1, dsp2, led0 to led7, brightness, clear or on", key)
	}
	if text, ok := v.(string); ok && p.Type != reports.String {
		v = strings.TrimSpace(text)
	}
	value, err := p.ParseValue(v)
	if err != nil {
		return displayChange{}, err
	}
	return displayChange{p.Path, value}, nil
}
