package input

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// SaveEvery is how often totals are saved at the most, and so how much counting a power cut can lose: what was counted in this
// time and while the last save was being written.
const SaveEvery = 10 * time.Second

// MaxTotals is how many totals a file may have.
const MaxTotals = 512

// Totals is a file of totals that survive restarts and power cuts: JSON, always a whole old one or a whole new one. It is safe for
// concurrent use, so that the slow Save need not hold up who counts.
type Totals struct {
	path   string
	saving sync.Mutex // held while the file is written

	mu    sync.Mutex
	n     map[string]uint64
	dirty bool      // there is something to save
	saved time.Time // when that was tried last
}

// totalsFile is the file.
type totalsFile struct {
	Version int               `json:"version" yaml:"version"`
	Totals  map[string]uint64 `json:"totals" yaml:"totals"`
}

// totalsVersion is the version of the file's form.
const totalsVersion = 1

// OpenTotals reads a file of totals. One that is not there is empty. A damaged one is an error that says what to do, so that no
// meter begins at 0 unnoticed.
func OpenTotals(path string) (*Totals, error) {
	t := &Totals{path: path, n: map[string]uint64{}}
	doc, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		t.n, err = decodeTotals(path, doc)
	}
	if err != nil {
		return nil, fmt.Errorf("read totals: %w; put %s right or, to begin at 0, remove it", err, path)
	}
	return t, nil
}

// readFile reads a file, but no more than a document may have.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, config.MaxBytes+1))
}

func decodeTotals(path string, doc []byte) (map[string]uint64, error) {
	node, err := config.ParseNode(path, doc)
	if err != nil {
		return nil, err
	}
	if node.IsZero() {
		return nil, fmt.Errorf("%s is empty", path)
	}
	var file totalsFile
	if err := node.Decode(&file); err != nil {
		return nil, err
	}
	switch {
	case file.Version != totalsVersion:
		return nil, node.Errorf("version", "is %d, only %d is known", file.Version, totalsVersion)
	case file.Totals == nil:
		return nil, node.Errorf("totals", "is missing")
	case len(file.Totals) > MaxTotals:
		return nil, node.Errorf("totals", "has %d totals, at most %d are possible", len(file.Totals), MaxTotals)
	}
	for name := range file.Totals {
		if err := reports.ValidName(name); err != nil {
			return nil, node.Errorf("totals."+name, "%w", err)
		}
	}
	return file.Totals, nil
}

// Get returns a total, 0 if there is none of the name.
func (t *Totals) Get(name string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[name]
}

// Set sets a total, to be saved when Save is due. A name that is none, and one more than MaxTotals, is an error.
func (t *Totals) Set(name string, n uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, known := t.n[name]
	switch {
	case known && old == n:
		return nil
	case !known && len(t.n) == MaxTotals:
		return fmt.Errorf("total of %s: %s has %d totals, which is the most", name, t.path, MaxTotals)
	}
	if err := reports.ValidName(name); err != nil {
		return fmt.Errorf("total: %w", err)
	}
	t.n[name], t.dirty = n, true
	return nil
}

// Retain forgets the totals of all names but those for which keep returns true.
func (t *Totals) Retain(keep func(name string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.n {
		if !keep(name) {
			delete(t.n, name)
			t.dirty = true
		}
	}
}

// Next returns when Save is due: at once if the last one is SaveEvery ago, so that what counts seldom loses nothing. It is the zero
// time if there is nothing to save.
func (t *Totals) Next() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dirty {
		return time.Time{}
	}
	return t.saved.Add(SaveEvery)
}

// Due reports whether Save is due.
func (t *Totals) Due(now time.Time) bool {
	next := t.Next()
	return !next.IsZero() && !now.Before(next)
}

// Save writes the file if there is something to save, whether it is due or not; a stop is to call it. It waits for the disk. After
// an error the old file stands and Save is due again after SaveEvery.
func (t *Totals) Save(now time.Time) error {
	t.saving.Lock()
	defer t.saving.Unlock()
	doc, err := t.take(now)
	if err == nil && doc != nil {
		err = config.Save(t.path, doc)
	}
	if err != nil {
		t.mu.Lock()
		t.dirty = true
		t.mu.Unlock()
		return fmt.Errorf("save totals: %w", err)
	}
	return nil
}

// take returns the file as it is to be, and takes note that it is saved; nil if there is nothing to save.
func (t *Totals) take(now time.Time) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dirty {
		return nil, nil
	}
	doc, err := json.MarshalIndent(totalsFile{Version: totalsVersion, Totals: t.n}, "", "  ")
	t.dirty, t.saved = false, now
	return append(doc, '\n'), err
}
