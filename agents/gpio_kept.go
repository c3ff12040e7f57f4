package agents

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"time"

	"rollcall/config"
	"rollcall/gpio/output"
)

// gpioKept is what outputs with initial: restore were last told: what they are once the timers of it have ended.
type gpioKept struct {
	outputs map[string]bool
	dirty   bool
	staged  bool            // the file has what is to be with a set-up to come, as well
	saved   time.Time       // when that was tried last
	filed   map[string]bool // those that may be on in the file
	urgent  time.Time       // since when one of these is off, or one with a time on, which is not in the file; zero: none is

	began   map[string]gpioBegan // since when outputs are on in the run before; nil once a set-up is in force
	running map[string]bool      // which of those that are not to be restored, but have a time, are on
	aged    map[string]bool      // which of them are so in the file; nil: that is not known
}

// gpioKeptEvery is how often it is saved at the most. The first change after as long a silence is saved at once, and so is an OFF of
// what is on in the file: nothing may come back on that was switched off.
const gpioKeptEvery = 10 * time.Second

// gpioKeptFile is the file that it is saved in. It stands beside that of the set-up, and two files can't be replaced at once: before
// another set-up is saved this one gets what is then to be restored, as next, and after it the old one goes.
type gpioKeptFile struct {
	Version int                `yaml:"version" json:"version"`
	Outputs map[string]bool    `yaml:"outputs" json:"outputs"`
	Clock   *gpioClock         `yaml:"clock" json:"clock,omitempty"` // when it was saved
	On      map[string]gpioAge `yaml:"on" json:"on,omitempty"`       // outputs with a time that were on then
	Next    *gpioKeptNext      `yaml:"next" json:"next,omitempty"`
}

// gpioKeptNext is what is to be restored if a set-up is in its file.
type gpioKeptNext struct {
	Setup   string             `yaml:"setup" json:"setup"` // its digest
	Outputs map[string]bool    `yaml:"outputs" json:"outputs"`
	On      map[string]gpioAge `yaml:"on" json:"on,omitempty"`
}

// Validate checks the version.
func (f *gpioKeptFile) Validate() error {
	if f.Version != 1 {
		return config.At("version", "is %d, only 1 is known", f.Version)
	}
	return nil
}

// gpioDigest tells one set-up document from others.
func gpioDigest(doc []byte) string {
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:])
}

// value returns what an output was last told.
func (k *gpioKept) value(name string) bool { return k.outputs[name] }

// restored reports whether it is an output to be restored.
func (l *gpioLine) restored() bool { return l.out != nil && l.out.Initial == gpioRestore }

// set takes note of what an output was told, if it is one to be restored.
func (k *gpioKept) set(l *gpioLine, on bool) {
	if !l.restored() {
		return
	}
	if was, known := k.outputs[l.name]; !known || was != on {
		if k.outputs == nil {
			k.outputs = map[string]bool{}
		}
		k.outputs[l.name], k.dirty = on, true
		if !on && k.filed[l.name] && k.urgent.IsZero() {
			k.urgent = time.Now()
		}
	}
}

// keep takes note of what outputs are now, whoever told them.
func (a *gpioAgent) keep() {
	for _, l := range a.present.lines {
		if l.restored() && l.hold.held() {
			a.kept.set(l, a.bank.Finally(l.name))
		}
		if l.aged() && !l.restored() && l.hold.held() {
			a.kept.runs(l.name, a.bank.State(l.name).On)
		}
	}
}

// gpioKeeps returns what is to be restored once lines under the rules of a bank are in force.
func gpioKeeps(lines []*gpioLine, bank *output.Bank) map[string]bool {
	out := map[string]bool{}
	for _, l := range lines {
		if l.restored() {
			out[l.name] = l.later || bank.Finally(l.name)
		}
	}
	return out
}

// retain forgets outputs that are not to be restored any more, and takes note of those that now are.
func (k *gpioKept) retain(lines []*gpioLine, bank *output.Bank) {
	keeps, before := gpioKeeps(lines, bank), k.outputs
	k.dirty = k.dirty || !maps.Equal(before, keeps)
	k.outputs = maps.Clone(before)
	for _, l := range lines {
		k.set(l, keeps[l.name])
	}
	k.outputs = keeps
}

// next returns when it is to be saved, or zero.
func (k *gpioKept) next() time.Time {
	if !k.dirty {
		return time.Time{}
	}
	if !k.urgent.IsZero() {
		return k.urgent
	}
	return k.saved.Add(gpioKeptEvery)
}

// file takes note of what is in the file, or may be: until a save has ended it is not known which of the two is there.
func (k *gpioKept) file(outputs map[string]bool, surely bool) {
	if surely || k.filed == nil {
		k.filed = map[string]bool{}
	}
	for name, on := range outputs {
		k.filed[name] = k.filed[name] || on
	}
}

// beginKept returns what is to be saved now, and takes note that it is.
func (a *gpioAgent) beginKept(now time.Time) *gpioKeptFile {
	k := &a.kept
	f := &gpioKeptFile{Version: 1, Outputs: maps.Clone(k.outputs), On: a.ages(a.present.lines, a.bank, now)}
	if len(f.On) > 0 {
		clock := gpioClockNow(a.deps.Root)
		f.Clock = &clock
	}
	k.dirty, k.saved, k.urgent = false, now, time.Time{}
	k.file(f.Outputs, false)
	return f
}

// stageKept saves what is to be restored with a set-up that is about to be saved, where that is something else. A power cut before
// the set-up is in its file leaves what was, and one after it what is to be.
func (a *gpioAgent) stageKept(t *gpioTaking, doc []byte) error {
	lines, bank := t.next.lines, t.bank
	keeps := gpioKeeps(lines, bank)
	if a.kept.outputs == nil {
		a.kept.outputs = map[string]bool{}
	}
	if maps.Equal(keeps, a.kept.outputs) && !a.kept.staged {
		return nil
	}
	if done := a.saver.done; done != nil {
		if err := t.meanwhile(func() error { <-done; return nil }); err != nil {
			return err
		}
		a.saved()
	}
	now := time.Now()
	f := a.beginKept(now)
	f.Next = &gpioKeptNext{gpioDigest(doc), keeps, a.ages(lines, bank, now)}
	if len(f.Next.On) > 0 && f.Clock == nil {
		clock := gpioClockNow(a.deps.Root)
		f.Clock = &clock
	}
	a.kept.file(keeps, false)
	a.kept.staged, a.kept.dirty = true, true // to be saved without it, whatever comes of the set-up
	file, write := a.file(gpioKeptName), a.write
	return t.meanwhile(func() error { return gpioWriteKept(write, file, f) })
}

// gpioWriteKept writes the file.
func gpioWriteKept(write func(string, []byte) error, file string, f *gpioKeptFile) error {
	doc, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = write(file, append(doc, '\n'))
	}
	if err != nil {
		return fmt.Errorf("save states: %w", err)
	}
	return nil
}

// loadKept reads what outputs were last told, those of the set-up that is saved. A file that can't be read is no reason to do
// nothing at all: all is off then.
func (a *gpioAgent) loadKept(setup []byte) {
	file := a.file(gpioKeptName)
	if file == "" {
		return
	}
	doc, err := gpioRead(file)
	if err == nil && doc == nil {
		return
	}
	var node config.Node
	if err == nil {
		node, err = config.ParseNode(file, doc)
	}
	var kept gpioKeptFile
	if err == nil {
		err = node.Decode(&kept)
	}
	if err != nil {
		a.log.Error("what outputs were last told can't be restored; they are off", "err", err)
		return
	}
	a.kept.outputs = kept.Outputs
	a.kept.file(kept.Outputs, true)
	ages := kept.On
	defer func() { a.kept.began = gpioBegin(ages, kept.Clock, gpioClockNow(a.deps.Root)) }()
	if kept.Next == nil {
		return
	}
	a.kept.staged, a.kept.dirty = true, true
	a.kept.file(kept.Next.Outputs, false)
	if kept.Next.Setup == gpioDigest(setup) {
		a.kept.outputs, ages = kept.Next.Outputs, kept.Next.On
	}
}

// gpioRead reads a file, but not more than a document may have and one byte; nil means that there is none.
func gpioRead(file string) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	doc, err := io.ReadAll(io.LimitReader(f, config.MaxBytes+1))
	if doc == nil && err == nil {
		doc = []byte{} // it is there, and empty
	}
	return doc, err
}
