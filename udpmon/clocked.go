package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/reports"
)

// clocked is what a face has that speaks by the clock and remembers; all is empty for another.
type clocked struct {
	reports.Clocked
	file string // of its memory
	kept []byte // what stands there
	last atomic.Pointer[[]reports.Message]
}

// recall gives the face what it remembered when the host stopped.
func (f *face) recall(dir string) {
	c, ok := f.bridge.(reports.Clocked)
	if !ok {
		return
	}
	f.clocked.Clocked, f.clocked.file = c, filepath.Join(dir, "face."+f.name+".memory.json")
	doc, err := os.ReadFile(f.clocked.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Error("what the face was told before is not known", "err", err)
	}
	if err := c.Recall(doc); err != nil {
		f.log.Error("what the face was told before is not known", "err", err)
		return
	}
	f.clocked.kept = doc
}

// wind sets the clock to when something is due, after anything that may have changed it, and keeps what the face remembers.
func (f *face) wind(clock *time.Timer) {
	c := &f.clocked
	if c.Clocked == nil {
		return
	}
	stops := c.Stops()
	c.last.Store(&stops)
	clock.Stop()
	if next := c.Next(); !next.IsZero() {
		clock.Reset(time.Until(next))
	}
	if doc := c.Memory(); !bytes.Equal(doc, c.kept) {
		if err := config.Save(c.file, doc); err != nil {
			f.log.Error("what the face was told is not saved", "err", err)
			return
		}
		c.kept = doc
	}
}

// stops returns what the face says when the host stops.
func (f *face) stops() (out []bus.Message) {
	if all := f.clocked.last.Load(); all != nil {
		for _, m := range *all {
			out = append(out, message(m))
		}
	}
	return out
}
