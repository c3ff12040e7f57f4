package main

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// identity is who this laptop is, and which hosts it knows.
type identity struct {
	key   trust.Key
	known *trust.KnownHosts
	ring  discover.Keyring

	secrets string        // file that the ring comes from
	saved   trust.Secrets // what is in it
	seen    int           // changes of ring when it was last compared with saved
}

// Names of the files in the folder of --keys.
const (
	operatorKeyFile = "id_ed25519"
	knownHostsFile  = "known_hosts"
	secretsFile     = "pair_secrets"
)

// keyDir returns the folder of the operator's key and of known_hosts.
func (a *app) keyDir() (string, error) {
	if a.keys != "" {
		return a.keys, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of keys: %w; name one with --keys", err)
	}
	return filepath.Join(dir, "rollcall"), nil
}

// who returns the identity; the key is made at first use.
func (a *app) who() (*identity, error) {
	if a.identity != nil {
		return a.identity, nil
	}
	dir, err := a.keyDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, operatorKeyFile)
	key, fresh, err := trust.LoadOrMakeKey(path, ownComment())
	if err != nil {
		return nil, err
	}
	if fresh {
		a.log().Info("operator key made", "path", path, "fingerprint", key.Public().Fingerprint())
	}
	known, err := trust.LoadKnownHosts(filepath.Join(dir, knownHostsFile))
	if err != nil {
		return nil, err
	}
	i := &identity{key: key, known: known, secrets: filepath.Join(dir, secretsFile)}
	if i.saved, err = trust.LoadSecrets(i.secrets, key.Public()); err != nil {
		return nil, err
	}
	for host, s := range i.saved {
		i.ring.Put(host[:], s)
	}
	a.identity = i
	return i, nil
}

// keep saves the secrets that are shared with the hosts of known_hosts, if there are others than were saved: to compute them
// takes 60 µs a host, each time that udpsrv is started.
func (i *identity) keep() error {
	changes := i.ring.Changes()
	if changes == i.seen {
		return nil
	}
	i.seen = changes
	return i.save()
}

func (i *identity) save() error {
	all := trust.Secrets{}
	for _, h := range i.known.All() {
		if s, ok := i.ring.Get(h.Key); ok {
			all[[ed25519.PublicKeySize]byte(h.Key)] = s
		}
	}
	if maps.Equal(all, i.saved) {
		return nil
	}
	i.saved = all
	return trust.SaveSecrets(i.secrets, i.key.Public(), all)
}

// ownComment returns user@host for a new key.
func ownComment() string {
	name, host := "operator", "laptop"
	if u, err := user.Current(); err == nil && validHost(u.Username) {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil && validHost(h) {
		host = h
	}
	return name + "@" + host
}

// keyOf finds the known key of a host, for a sweep.
func (i *identity) keyOf(id discover.ID) (ed25519.PublicKey, bool) {
	h, ok := i.known.Find("", trust.HostID(id))
	return h.Key, ok
}

// check compares an answer with what is known of a host of its name or id.
func (i *identity) check(h discover.Host) error {
	now := trust.KnownHost{Name: h.Hostname, ID: trust.HostID(h.ID), PublicKey: trust.PublicKey{Key: h.Key}}
	if h.Key != nil {
		return i.known.Check(now)
	}
	if was, ok := i.known.Find(h.Hostname, now.ID); ok {
		return &openedError{was}
	}
	return nil
}

// openedError says that a host which has sealed its answers does so no longer.
type openedError struct{ was trust.KnownHost }

// Error says so, and what to do.
func (e *openedError) Error() string {
	return fmt.Sprintf("%s ANSWERS WITHOUT ITS KEY, which it had before (%s): its authorized_operators is gone, or somebody pretends to be this host. "+
		"If you have opened it yourself: udpsrv trust --forget %s", e.was.Name, e.was.Fingerprint(), e.was.Name)
}

// strange returns the errors about hosts that the sweep itself did not believe.
func (i *identity) strange(changes []discover.KeyChange) (errs []error) {
	for _, c := range changes {
		was, ok := i.known.Find("", trust.HostID(c.Host))
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("two hosts with different keys answer with the id %s, one of them from %s", c.Host, c.From.Addr()))
		case c.Now == nil:
			errs = append(errs, &openedError{was})
		default:
			errs = append(errs, i.known.Check(trust.KnownHost{Name: cmp.Or(c.Hostname, was.Name), ID: trust.HostID(c.Host), PublicKey: trust.PublicKey{Key: c.Now}}))
		}
	}
	return errs
}

// errUntrusted says that a host's key is not known.
var errUntrusted = errors.New("host key is not known")

// pin has the broker of a host that is known checked by the host's key, over TLS. One of a host without a key is left as it is.
func (a *app) pin(b brokerURL, e entry) (brokerURL, error) {
	who, err := a.who()
	if err != nil || !b.TLS {
		return b, err
	}
	id, _ := parseID(e.ID)
	h, ok := who.known.Find(e.Hostname, trust.HostID(id))
	switch {
	case ok:
		b.pinned, err = who.key.ClientTLS(h.PublicKey)
	case e.Sealed:
		err = fmt.Errorf("%w: compare and accept it with udpsrv trust %s", errUntrusted, e.Hostname)
	}
	return b, err
}

// pinNamed is pin for a broker that --broker names, if its name is that of a host that is known.
func (a *app) pinNamed(b brokerURL) (brokerURL, error) {
	if !b.TLS || b.User != "" {
		return b, nil
	}
	for _, e := range matching(a.openCache().Hosts, b.Host) {
		return a.pin(b, e)
	}
	return a.pin(b, entry{Hostname: b.Host})
}
