package trust

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// HostID is the id that a host has made for itself; see discover.ID.
type HostID = [8]byte

// KnownHost is a line of known_hosts.
type KnownHost struct {
	Name string
	ID   HostID
	PublicKey
}

// Line returns the line.
func (h KnownHost) Line() string {
	return h.Name + "," + hex.EncodeToString(h.ID[:]) + " " + h.PublicKey.String()
}

// ErrUnknownHost says that known_hosts has no key of the host.
var ErrUnknownHost = errors.New("host key is not known")

// ChangedError says that a host has another key than the known one: it was installed anew, or somebody pretends to be it.
type ChangedError struct {
	Path  string // of known_hosts
	Known KnownHost
	Now   KnownHost
}

// Error says what has changed and how to mend it.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED: it was %s and is %s now. Somebody may pretend to be this host. If it was installed anew, "+
		"compare the fingerprint with that on the host, then: udpsrv trust --forget %s && udpsrv trust %s (in %s)",
		e.Known.Name, e.Known.Fingerprint(), e.Now.Fingerprint(), e.Known.Name, e.Now.Name, e.Path)
}

// KnownHosts are the keys of hosts that a laptop remembers. It is safe for concurrent use.
type KnownHosts struct {
	path   string
	mu     sync.Mutex
	list   []KnownHost
	byName map[string][]int // places in list, in its order
	byID   map[HostID][]int
	cut    bool // the file's last line has no end
}

// put replaces the list.
func (k *KnownHosts) put(list []KnownHost) {
	k.list, k.byName, k.byID = nil, make(map[string][]int, len(list)), make(map[HostID][]int, len(list))
	for _, h := range list {
		k.note(h)
	}
}

// note adds to the list.
func (k *KnownHosts) note(h KnownHost) {
	at := len(k.list)
	k.list = append(k.list, h)
	k.byName[h.Name] = append(k.byName[h.Name], at)
	k.byID[h.ID] = append(k.byID[h.ID], at)
}

// Bounds of a known_hosts file.
const (
	maxKnownFile = 8 << 20
	maxKnown     = 50_000
	maxHostName  = 64
)

// ParseKnownHost reads a line of known_hosts.
func ParseKnownHost(line string) (KnownHost, error) {
	first, rest := nextField(line)
	name, id, ok := strings.Cut(first, ",")
	raw, err := hex.DecodeString(id)
	if !ok || err != nil || len(raw) != len(HostID{}) || id != strings.ToLower(id) || !validName(name) {
		return KnownHost{}, fmt.Errorf("%.100q is not NAME,ID with an id of 16 hex digits", first)
	}
	key, err := ParsePublicKey(rest)
	return KnownHost{name, HostID(raw), key}, err
}

// validName reports whether s can be the name of a host in topics.
func validName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	return s != "" && len(s) <= maxHostName && strings.Trim(s, letters) == ""
}

// ParseKnownHosts reads a known_hosts file; name stands for it in errors, which have the line.
func ParseKnownHosts(name string, text []byte) (*KnownHosts, error) {
	k := &KnownHosts{path: name, cut: len(text) > 0 && text[len(text)-1] != '\n'}
	k.put(nil)
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		line := strings.TrimSpace(string(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		h, err := ParseKnownHost(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if len(k.list) == maxKnown {
			return nil, fmt.Errorf("%s:%d: more than %d hosts", name, n, maxKnown)
		}
		k.note(h)
	}
	return k, nil
}

// LoadKnownHosts reads a known_hosts file; that there is none means that no host is known. One that others than its owner can
// write is refused.
func LoadKnownHosts(path string) (*KnownHosts, error) {
	b, err := readOwn(path, 0o022, "chmod go-w", maxKnownFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ParseKnownHosts(path, nil)
	}
	if err != nil {
		return nil, err
	}
	return ParseKnownHosts(path, b)
}

// Check compares what a host says of itself with what is known of its name and of its id: nil if this is its key,
// ErrUnknownHost if neither is known, and a *ChangedError if either has another key.
func (k *KnownHosts) Check(h KnownHost) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.check(h)
}

func (k *KnownHosts) check(h KnownHost) error {
	err := ErrUnknownHost
	for _, places := range [][]int{k.byName[h.Name], k.byID[h.ID]} {
		for _, at := range places {
			if o := k.list[at]; !o.Equal(h.PublicKey) {
				return &ChangedError{k.path, o, h}
			}
			err = nil
		}
	}
	return err
}

// Find returns the host with that id, or else the one of that name; "" and the zero id find nothing.
func (k *KnownHosts) Find(name string, id HostID) (KnownHost, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at := k.byID[id]; len(at) > 0 && id != (HostID{}) {
		return k.list[at[0]], true
	}
	if at := k.byName[name]; len(at) > 0 {
		return k.list[at[0]], true
	}
	return KnownHost{}, false
}

// All returns the hosts, in the order of the file.
func (k *KnownHosts) All() []KnownHost {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.list)
}

// Add remembers a host, unless it is known already; one whose key has changed is a *ChangedError.
func (k *KnownHosts) Add(h KnownHost) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.check(h); !errors.Is(err, ErrUnknownHost) {
		return err
	}
	if !validName(h.Name) || len(k.list) == maxKnown {
		return fmt.Errorf("host %.64q can't be remembered", h.Name)
	}
	h.Comment = ""
	if err := os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return fmt.Errorf("make folder of known hosts: %w", err)
	}
	f, err := os.OpenFile(k.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("remember host: %w", err)
	}
	line := h.Line() + "\n"
	if k.cut {
		line = "\n" + line
	}
	_, err = f.WriteString(line) // in one piece, so that two programs may add at a time
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("remember host: %w", err)
	}
	k.note(h)
	k.cut = false
	return nil
}

// Forget removes the hosts of that name, and returns how many there were.
func (k *KnownHosts) Forget(name string) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(k.list), func(h KnownHost) bool { return h.Name == name })
	gone := len(k.list) - len(left)
	if gone == 0 {
		return 0, nil
	}
	var b bytes.Buffer
	for _, h := range left {
		b.WriteString(h.Line() + "\n")
	}
	if err := writeFile(k.path, b.Bytes(), 0o600); err != nil {
		return 0, err
	}
	k.put(left)
	k.cut = false
	return gone, nil
}
