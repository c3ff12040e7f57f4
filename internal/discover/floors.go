package discover

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
)

// floors are, by operator, the newest time in milliseconds of a request that could be taken for a new one after a restart or a
// change of the clock: those dated ahead of the host's clock, and those that ask for a challenge. They survive a restart.
type floors struct {
	path   string // "": they don't
	loaded map[[8]byte]int64
	now    map[[8]byte]int64
}

// maxFloors is how many operators' floors are kept; there can't be more keys in authorized_operators.
const maxFloors = 1000

// loadFloors reads the file; what can't be read begins anew.
func loadFloors(path string) floors {
	f := floors{path: path, loaded: map[[8]byte]int64{}}
	var in map[string]int64
	if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &in) == nil {
		for text, ms := range in {
			if id, err := hex.DecodeString(text); err == nil && len(id) == 8 && len(f.loaded) < maxFloors {
				f.loaded[[8]byte(id)] = ms
			}
		}
	}
	f.now = maps.Clone(f.loaded)
	return f
}

// above reports whether the time of a request is newer than the last one.
func (f *floors) above(id [8]byte, ms int64) bool { return ms > f.now[id] }

// raise notes the time of a request and reports whether it is newer than the last one. It is on its way to the disk when raise
// returns, but not waited for.
func (f *floors) raise(id [8]byte, ms int64) bool {
	if !f.above(id, ms) {
		return false
	}
	if _, ok := f.now[id]; !ok && len(f.now) >= maxFloors {
		return false
	}
	f.now[id] = ms
	if f.path == "" {
		return true
	}
	out := map[string]int64{}
	for id, ms := range f.now {
		out[hex.EncodeToString(id[:])] = ms
	}
	b, err := json.Marshal(out)
	if err != nil {
		return false // numbers by names always marshal
	}
	tmp := filepath.Join(filepath.Dir(f.path), ".floors-new")
	if os.WriteFile(tmp, b, 0o600) != nil {
		return false
	}
	return os.Rename(tmp, f.path) == nil
}
