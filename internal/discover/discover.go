package discover

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"rollcall/reports"
)

// Port is the UDP port of discovery.
const Port = 37030

// ID identifies a host over restarts and renaming. It prints as 16 hex digits.
type ID [8]byte

// String returns the id as 16 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// LoadID reads the host's id from the file host_id in stateDir, or makes one and saves it there.
func LoadID(stateDir string) (ID, error) {
	b, err := secret(stateDir, "host_id", len(ID{}), 0o644)
	if err != nil {
		return ID{}, err
	}
	id := ID(b)
	if id == (ID{}) {
		return id, fmt.Errorf("read %s: the id is all zeros; remove it to have a new one made", filepath.Join(stateDir, "host_id"))
	}
	return id, nil
}

// Host is what a host says of itself in a reply.
type Host struct {
	ID       ID
	Hostname string
	Addrs    []netip.Addr // the addresses of its usable interfaces
	ExtAddr  string
	MAC      net.HardwareAddr // of the interface that answered
	Model    string
	OS       string
	Arch     string
	Version  string
	BootID   string
	Started  time.Time // of the monitor; the reply carries the age
	// Brokers are the URLs of the host's broker. One on loopback is only of use on the host itself; a sweep drops it when the
	// reply came from another machine, and sets LoopbackOnly.
	Brokers      []string
	LoopbackOnly bool
	Key          ed25519.PublicKey // that sealed the answer; nil: it was open. A sweep fills it in
	Open         bool              // the host has no authorized_operators: it answers anyone
	Services     []Service
}

// Service is one service of a Host.
type Service struct {
	Name, Function string
	Status         reports.Status
	Points         int
	Simulated      bool    // its hardware is made up, as its options ask for in words
	Digest         [8]byte // of its description; two equal digests mean equal descriptions
	Classes        string  // device classes of its points, with spaces between them: for selectors, not in replies
}
