package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The nut agent reads an uninterruptible power supply from the upsd of Network UPS Tools, over TCP (RFC 9271).
//
// The points are those that the UPS has when the agent starts. The connection is kept; one that is lost is made anew at the
// next poll. on_battery and low_battery are events, told when a poll sees that they have changed; flag/on_battery and
// flag/low_battery are the same as states.

func nutFactory() Factory {
	return Factory{
		Name:    "nut",
		Doc:     "An uninterruptible power supply, as the upsd of Network UPS Tools (NUT) knows it.",
		Wiring:  nutWiring,
		Example: "sim: true\npoll: 5s\n",
		Defaults: func() Options {
			return &nutOptions{Address: "127.0.0.1:3493", Poll: reports.Duration(5 * time.Second)}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*nutOptions)
			if !ok {
				return nil, fmt.Errorf("nut: options are a %T", o)
			}
			if opts.Sim {
				return newNUT(*opts, nutSimulator{time.Now})
			}
			return newNUT(*opts, newNUTClient(*opts, new(net.Dialer).DialContext))
		},
	}
}

// nutWiring is Factory.Wiring.
const nutWiring = `The UPS is on USB or a serial port of some host; there ` + "`apt install nut-server`" + `, a section in /etc/nut/ups.conf
(` + "`nut-scanner -U`" + ` writes it), ` + "`MODE=netserver`" + ` in /etc/nut/nut.conf, and for other hosts a line ` + "`LISTEN 0.0.0.0`" + ` in
/etc/nut/upsd.conf. Reading needs no login. With one (in /etc/nut/upsd.users a section with ` + "`password`" + ` and ` + "`upsmon secondary`" + `) the
agent counts as a client that the UPS feeds, as upsmon does; when the primary announces the shutdown (FSD), it logs out at once so
that nobody waits for it.

TLS: upsd needs a certificate (CERTFILE in upsd.conf; on Debian, whose upsd is built with NSS, CERTPATH and CERTIDENT).
On Debian this makes one, as root, with the host's name or address in it, and ca.pem for the agent (` + "`apt install libnss3-tools`" + `):

    install -d -m 750 -g nut /etc/nut/nss
    head -c 64 /dev/urandom >/etc/nut/nss/seed
    certutil -N -d sql:/etc/nut/nss --empty-password
    certutil -S -d sql:/etc/nut/nss -n upsd -x -s CN=upsd --extSAN ip:192.168.1.7,dns:attic -t CTu,u,u -v 120 -z /etc/nut/nss/seed
    certutil -L -d sql:/etc/nut/nss -n upsd -a >ca.pem
    chgrp nut /etc/nut/nss/* && chmod 640 /etc/nut/nss/*

with ` + "`CERTPATH /etc/nut/nss`" + ` and ` + "`CERTIDENT upsd \"\"`" + ` in upsd.conf. Give the agent ` + "`ca_file`" + `, or ` + "`fingerprint`" + ` from
` + "`openssl x509 -in ca.pem -noout -fingerprint -sha256`" + `; then it talks to no upsd that fails the check.`

// nutOptions are the options of the nut agent.
type nutOptions struct {
	Address       string           `yaml:"address" doc:"host, or host:port, of upsd; the port is 3493 by default"`
	UPS           string           `yaml:"ups" doc:"name of the UPS, as upsc -l shows it; default: the only one"`
	Poll          reports.Duration `yaml:"poll" doc:"how often it is read; the driver itself looks every 2 s"`
	Username      string           `yaml:"username" doc:"user of upsd.users to log in as; default: no login, which reading does not need"`
	Password      string           `yaml:"password" doc:"its password; password_file is better"`
	PasswordFile  string           `yaml:"password_file" doc:"file with its password, read at every connection"`
	PlainPassword bool             `yaml:"plain_password" doc:"send the password to another host without TLS, where everyone on the way can read it"`
	CAFile        string           `yaml:"ca_file" doc:"file in PEM with the certificates that may vouch for upsd: TLS, and nothing without it"`
	Fingerprint   string           `yaml:"fingerprint" doc:"SHA-256 of upsd's own certificate, in place of ca_file: TLS, and nothing without it"`
	Sim           bool             `yaml:"sim" doc:"made-up values instead of a UPS; only when asked for"`
}

// nutPort is upsd's port (RFC 9271 §3), nutLeastPoll half of the interval in which drivers look (pollinterval of ups.conf).
const (
	nutPort      = "3493"
	nutLeastPoll = time.Second
)

// Validate checks the options without the network.
func (o *nutOptions) Validate() error {
	if time.Duration(o.Poll) < nutLeastPoll {
		return config.At("poll", "%s is too often, at least %s is needed", o.Poll, nutLeastPoll)
	}
	for _, t := range []struct{ key, text string }{{"address", o.Address}, {"ups", o.UPS}, {"username", o.Username}, {"password", o.Password}} {
		if err := nutPlain(t.text); err != nil {
			return config.At(t.key, "%w", err)
		}
	}
	if host, port, err := net.SplitHostPort(nutAddress(o.Address)); err != nil || host == "" || port == "" {
		return config.At("address", "%.60q is not a host or host:port", o.Address)
	} else if n, err := strconv.ParseUint(port, 10, 64); (err == nil || errors.Is(err, strconv.ErrRange)) && (n == 0 || n > math.MaxUint16) {
		return config.At("address", "port %.20s is not from 1 to %d", port, math.MaxUint16)
	}
	if o.Fingerprint != "" {
		if _, err := nutFingerprint(o.Fingerprint); err != nil {
			return config.At("fingerprint", "%w", err)
		}
	}
	secrets := o.Password != "" || o.PasswordFile != ""
	switch {
	case o.Password != "" && o.PasswordFile != "":
		return config.At("password", "there is password_file as well: one of them is enough")
	case o.Username != "" && !secrets:
		return config.At("username", "needs password_file beside it")
	case o.Username == "" && (secrets || o.PlainPassword):
		return config.At("username", "is missing, and there is a password")
	case o.PlainPassword && o.secure():
		return config.At("plain_password", "is for a connection without TLS, and ca_file or fingerprint asks for it")
	case o.CAFile != "" && o.Fingerprint != "":
		return config.At("ca_file", "there is fingerprint as well: one of them decides")
	case o.Sim && (o.UPS != "" || o.Username != "" || o.secure()):
		return config.At("sim", "a made-up UPS has no name, login or TLS: take those away, or sim")
	}
	return nil
}

// Warnings says which files are not there.
func (o *nutOptions) Warnings() map[string]error {
	out := map[string]error{}
	for at, file := range map[string]string{"ca_file": o.CAFile, "password_file": o.PasswordFile} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			out[at] = err
		}
	}
	return out
}

// secure reports whether TLS is asked for.
func (o *nutOptions) secure() bool { return o.CAFile != "" || o.Fingerprint != "" }

// nutAddress adds the port where there is none.
func nutAddress(s string) string {
	if _, _, err := net.SplitHostPort(s); err == nil {
		return s
	}
	if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	return net.JoinHostPort(s, nutPort)
}

// nutSource is the seam: an upsd, or what is made up in its place.
type nutSource interface {
	list(context.Context) (map[string]string, error)
	close()
}

// nutSimulator is a made-up UPS.
type nutSimulator struct{ now func() time.Time }

func (s nutSimulator) list(ctx context.Context) (map[string]string, error) {
	return nutSimulated(s.now()), ctx.Err()
}

func (nutSimulator) close() {}

type nut struct {
	*snapshot[nutVars]
	source nutSource
	status string // at the last look
	events chan reports.Reading
	closed bool
}

func newNUTClient(o nutOptions, dial func(context.Context, string, string) (net.Conn, error)) *nutClient {
	return &nutClient{o: o, dial: dial, address: nutAddress(o.Address), ups: o.UPS}
}

func newNUT(o nutOptions, source nutSource) (*nut, error) {
	events := nutEvents()
	n := &nut{source: source, events: make(chan reports.Reading, len(events))}
	n.snapshot = newSnapshot(newSensor("nut", o.Sim), n.look)
	n.least = nutLeastPoll
	vars, err := n.look(context.Background(), nil) // list has an end of its own
	if err == nil {
		_, err = nutStatus(vars)
	}
	if err != nil {
		source.close()
		return nil, err
	}
	n.describe(vars, o.Poll)
	for _, e := range events {
		n.service.Points = append(n.service.Points, e.point)
	}
	n.closing = n.end
	return n, nil
}

// nutEvent is an event, which is told when its flag has changed.
type nutEvent struct {
	flag  string
	point reports.Point
}

func nutEvents() [2]nutEvent {
	return [2]nutEvent{
		{"OB", reports.Point{Path: "on_battery", Label: "On battery", Help: "told when it begins (ON) and when it ends (OFF)",
			Type: reports.Bool, Access: reports.Event, Genre: reports.User}},
		{"LB", reports.Point{Path: "low_battery", Label: "Battery low", Help: "told when it begins (ON) and when it ends (OFF)",
			Type: reports.Bool, Access: reports.Event, Genre: reports.User}},
	}
}

// look reads the variables and tells what has changed.
func (n *nut) look(ctx context.Context, _ []string) (nutVars, error) {
	vars, err := n.source.list(ctx)
	if err != nil {
		return nil, err
	}
	before := n.status
	n.status = cmp.Or(vars["ups.status"], n.status)
	for _, e := range nutEvents() {
		is := nutHas(n.status, e.flag)
		if before == "" || is == nutHas(before, e.flag) {
			continue
		}
		select {
		case n.events <- reports.Reading{Path: e.point.Path, Value: is, Time: time.Now()}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return vars, nil
}

// Events returns the channel of on_battery and low_battery.
func (n *nut) Events() <-chan reports.Reading { return n.events }

// end closes the connection and the channel of events.
func (n *nut) end() error {
	if !n.closed {
		n.closed = true
		n.source.close()
		close(n.events)
	}
	return nil
}
