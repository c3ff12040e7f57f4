package main

import (
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"rollcall/config"
	"rollcall/internal/broker"
	"rollcall/internal/trust"
	"rollcall/reports"
)

// hostKeyFile is the name of the host's key in the state folder.
const hostKeyFile = "host_key"

// loadKey reads the host's key, or makes it.
func (m *monitor) loadKey() error {
	key, _, err := trust.LoadOrMakeKey(filepath.Join(m.cfg.StateDir, hostKeyFile), m.cfg.Host)
	m.key = key
	return err
}

// loadOperators reads authorized_operators; open is true if there is no such file. A path of which not even that can be said
// is no invitation.
func loadOperators(cfg config.Config) (all *trust.Operators, open bool, err error) {
	all, err = trust.LoadOperators(cfg.Discovery.AuthorizedOperators)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("authorized_operators: %w", err)
	}
	return all, false, nil
}

// mayAsk finds an operator who may read, for the responder.
func (m *monitor) mayAsk(id [8]byte) (ed25519.PublicKey, bool) {
	op, ok := m.operators.Load().Find(id)
	if !ok || !op.Rights.Has(trust.Read) {
		return nil, false
	}
	return op.Key, true
}

// rights returns the rights of the client of a TLS connection: of the key that its identity names.
func (m *monitor) rights(identity string) trust.Rights {
	for _, op := range m.operators.Load().All() {
		if identity == trust.CommonName(op.PublicKey) {
			return op.Rights
		}
	}
	return 0
}

// secure opens the broker to operators on the network, or closes it, as the host has or has not a file of them. m.mu is held,
// or nobody else there yet.
func (m *monitor) secure() error {
	if m.broker == nil {
		return nil
	}
	if m.open || m.settings.Broker.ListenTLS == config.Off {
		m.broker.CloseSecure()
		m.safe = netip.AddrPort{}
		return nil
	}
	m.broker.Disconnect(func(identity string) bool { return m.rights(identity) == 0 })
	if m.safe.IsValid() {
		return nil
	}
	conf, err := m.key.ServerTLS(func(key trust.PublicKey) error {
		if m.operators.Load().Rights(key) == 0 {
			return fmt.Errorf("key %s is not in authorized_operators", key.Fingerprint())
		}
		return nil
	})
	if err != nil {
		return err
	}
	addr, err := m.broker.OpenSecure(broker.Secure{Listen: m.settings.Broker.ListenTLS, TLS: conf, Identify: identify})
	if err != nil {
		return fmt.Errorf("broker.listen_tls: %w", err)
	}
	m.safe = addr.(*net.TCPAddr).AddrPort()
	return nil
}

// identify names the client of a TLS connection by its key.
func identify(s tls.ConnectionState) string {
	key, err := trust.PeerKey(s)
	if err != nil {
		return ""
	}
	return trust.CommonName(key)
}

// safeURLs returns the URLs by which operators reach the broker over TLS. m.mu is held.
func (m *monitor) safeURLs(addrs []netip.Addr) (out []string) {
	if !m.safe.IsValid() {
		return nil
	}
	at := brokerAt{listen: m.safe}
	if !m.safe.Addr().Unmap().IsUnspecified() {
		at.others = []string{"tcp://" + m.safe.String()}
	}
	for _, u := range at.told(addrs) {
		out = append(out, strings.Replace(u, "tcp://", "ssl://", 1))
	}
	return out[:min(len(out), maxSafeURLs)]
}

// maxSafeURLs is how many of the URLs that a reply has room for are those of TLS.
const maxSafeURLs = 3

// allowOperator is the broker's access rule for operators: each may do what his rights say, and nothing else.
func (m *monitor) allowOperator(rights trust.Rights, topic string, write bool) bool {
	if !write {
		return rights.Has(trust.Read)
	}
	verb, ok := m.commandOf(topic)
	if !ok {
		return false
	}
	return rights.Has(neededFor(verb))
}

// neededFor returns the right that a command needs.
func neededFor(verb string) trust.Rights {
	switch verb {
	case "get":
		return trust.Read
	case "setup":
		return trust.Setup
	}
	return trust.Control
}

// refuse answers a command that its operator may not give.
func (m *monitor) refuse(who broker.Peer, topic string, payload []byte) []broker.Message {
	service, verb, path, ok := m.parseCommand(topic)
	if !ok {
		return nil
	}
	c, err := reports.ParseCommand(verb, path, payload)
	if err == nil || c.Verb == "" {
		c.Verb, c.Path = verb, path
	}
	rights := m.rights(who.Identity)
	answer, err := json.Marshal(reports.Failed(c, reports.Errorf(reports.CodeNotAllowed, "operator %s has the rights %s, this needs %s",
		m.operatorName(who.Identity), rights, neededFor(verb))))
	if err != nil {
		return nil // strings always marshal
	}
	out := []broker.Message{{Topic: reports.Topics{Host: m.cfg.Host, Service: service}.To("result"), Payload: answer}}
	if c.Reply != "" && reports.ValidReply(c.Reply) == nil && !m.isOurs(c.Reply) {
		out = append(out, broker.Message{Topic: c.Reply, Payload: answer})
	}
	return out
}

// operatorName returns the comment of the operator's key, or its id.
func (m *monitor) operatorName(identity string) string {
	all := m.operators.Load().All()
	i := slices.IndexFunc(all, func(o trust.Operator) bool { return trust.CommonName(o.PublicKey) == identity })
	if i < 0 || all[i].Comment == "" {
		return identity
	}
	return all[i].Comment
}

// obeyed returns who is obeyed, as the log says it: "alice@laptop (read,control,setup)".
func obeyed(all *trust.Operators) []string {
	out := []string{}
	for _, op := range all.All() {
		name := op.Comment
		if name == "" {
			name = op.Fingerprint()
		}
		out = append(out, name+" ("+op.Rights.String()+")")
	}
	return out
}

// lines returns the operators as they stand in their file.
func lines(all *trust.Operators) (out []string) {
	for _, op := range all.All() {
		out = append(out, op.Line())
	}
	return out
}
