package agents

import (
	"fmt"
	"time"

	"rollcall/reports"
)

// gpioChipValue is the value of the point chip.
type gpioChipValue struct {
	Name  string          `json:"name"`
	Label string          `json:"label"`
	Lines []gpioLineValue `json:"lines"`
}

// gpioLineValue is a line of a chip, used or free.
type gpioLineValue struct {
	Offset    int    `json:"offset"`
	Name      string `json:"name,omitempty"`
	Pin       int    `json:"pin,omitempty"` // position on a Raspberry Pi's header
	Direction string `json:"direction"`
	Consumer  string `json:"consumer,omitempty"`
	Used      bool   `json:"used"`
	Ours      bool   `json:"ours,omitempty"`
	Path      string `json:"path,omitempty"` // of the point that the set-up has for it
}

// gpioLinesMost is how many lines are listed; of a chip that has more only those that are used or in the set-up, since the message
// would be too long.
const gpioLinesMost = 512

// chipValue reads who holds which line.
func (a *gpioAgent) chipValue() (any, error) {
	if a.present.chip == nil {
		return nil, reports.Errorf(reports.CodeOffline, "no chip is open")
	}
	info, err := a.present.chip.Info()
	if err != nil {
		return nil, a.failed(fmt.Errorf("read chip: %w", err))
	}
	paths := map[int]*gpioLine{}
	for _, l := range a.present.lines {
		paths[l.wiring.offset] = l
	}
	value := gpioChipValue{Name: info.Name, Label: info.Label, Lines: []gpioLineValue{}}
	for _, is := range info.Lines {
		line := gpioLineValue{Offset: is.Offset, Name: is.Name, Pin: info.HeaderPin(is.Offset), Direction: "in", Consumer: is.Consumer, Used: is.Used}
		if is.Output {
			line.Direction = "out"
		}
		if l := paths[is.Offset]; l != nil {
			line.Path, line.Ours = l.path, l.hold.held()
		}
		if len(info.Lines) > gpioLinesMost && (!line.Used && line.Path == "" || len(value.Lines) == gpioLinesMost) {
			continue
		}
		value.Lines = append(value.Lines, line)
	}
	return value, nil
}

// names returns the names of some of the lines.
func (s *gpioState) names(ok func(*gpioLine) bool) []string {
	out := []string{}
	for _, l := range s.lines {
		if ok(l) {
			out = append(out, l.name)
		}
	}
	return out
}

// gpioLookEvery is how often a chip of which no edges are awaited is looked at for being gone, as one with edges is by the kernel's
// reader.
const gpioLookEvery = 3 * time.Second

// guard chooses the line that tells whether the chip is still there, where none has edges, which do.
func (a *gpioAgent) guard(now time.Time) {
	var guard *gpioLine
	for _, l := range a.present.lines {
		switch l.lookAt = (time.Time{}); {
		case !l.hold.held() || l.hold.line == nil:
		case l.wiring.edges:
			return
		case guard == nil:
			guard = l
		}
	}
	if guard != nil {
		guard.lookAt = now.Add(gpioLookEvery)
	}
}

// look looks whether the chip is still there, if that is due.
func (a *gpioAgent) look(now time.Time) {
	for _, l := range a.present.lines {
		if l.lookAt.IsZero() || l.lookAt.After(now) || !l.hold.held() {
			continue
		}
		l.lookAt = now.Add(gpioLookEvery)
		_, err := l.hold.line.Value()
		_ = a.failed(err) // whatever else is wrong comes out where the line is used
	}
}
