package agents

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// pingNetwork sends real requests, through the kernel's ping sockets (icmp(7)): the kernel fills in the identifier and
// gives each socket the answers to its own requests only.
type pingNetwork struct {
	resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)
	root    string // prefix of /proc
}

// pingBytes is the length of the data of a request, which makes an answer known as that of this request.
const pingBytes = 16

// newPingNetwork tries whether requests may be sent at all.
func newPingNetwork(root string) (*pingNetwork, error) {
	n := &pingNetwork{resolve: net.DefaultResolver.LookupNetIP, root: root}
	conn, err := n.open(false)
	if err != nil {
		return nil, err
	}
	return n, conn.Close()
}

// open makes a socket.
func (n *pingNetwork) open(v6 bool) (*icmp.PacketConn, error) {
	network, address := "udp4", "0.0.0.0"
	if v6 {
		network, address = "udp6", "::"
	}
	conn, err := icmp.ListenPacket(network, address)
	if errors.Is(err, fs.ErrPermission) {
		file := filepath.Join("/", n.root, "proc/sys/net/ipv4/ping_group_range")
		has, rerr := sensorFile(file)
		if rerr != nil {
			has = "unknown"
		}
		return nil, fmt.Errorf("the kernel lets only the groups of net.ipv4.ping_group_range send echo requests, now %q (1 0 is nobody): "+
			"`sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"`, and the same in /etc/sysctl.d for ever: %w",
			strings.Join(strings.Fields(has), " "), err)
	}
	return conn, err
}

// address resolves the host's name.
func (n *pingNetwork) address(ctx context.Context, h pingHost) (netip.Addr, error) {
	all, err := n.resolve(ctx, "ip"+h.Family, h.Address)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return netip.Addr{}, fmt.Errorf("resolve %.60q: %w", h.Address, err)
	}
	i := slices.IndexFunc(all, func(a netip.Addr) bool { return h.Family == "" || a.Unmap().Is4() == (h.Family == "4") })
	if i < 0 {
		return netip.Addr{}, fmt.Errorf("%.60q has no address of IPv%s", h.Address, h.Family)
	}
	ip := all[i].Unmap()
	return ip, pingTarget(ip)
}

// echo sends a request and waits for its answer.
func (n *pingNetwork) echo(ctx context.Context, h pingHost) (time.Duration, error) {
	ip, err := n.address(ctx, h)
	if err != nil {
		return 0, err
	}
	conn, err := n.open(ip.Is6())
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // nothing is waiting in it
	deadline, _ := ctx.Deadline()       // look gives it one
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only when it is closed
	defer stop()
	request, data, err := pingRequest(ip.Is6())
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := conn.WriteTo(request, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))); err != nil {
		return 0, pingRefused(err)
	}
	buf := make([]byte, 1500)
	for {
		got, _, err := conn.ReadFrom(buf)
		took := time.Since(began)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if errors.Is(ctx.Err(), context.Canceled) {
				return 0, ctx.Err()
			}
			return 0, errPingLost
		case err != nil:
			return 0, pingRefused(err)
		case pingIsAnswer(buf[:got], data, ip.Is6()):
			return took, nil
		}
	}
}

// pingRefused tells a network on which the host can't be reached, which is an answer, from what is wrong here.
func pingRefused(err error) error {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.EHOSTDOWN, unix.ECONNREFUSED} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", errPingLost, err)
		}
	}
	return err
}

// pingRequest makes an echo request (RFC 792, RFC 4443 §4.1) with random data.
func pingRequest(v6 bool) (packet, data []byte, err error) {
	data = make([]byte, pingBytes)
	_, _ = rand.Read(data) // never fails
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{Seq: 1, Data: data}}
	if v6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	packet, err = m.Marshal(nil) // the kernel sums IPv6 itself
	return packet, data, err
}

// pingIsAnswer reports whether the packet answers the request with the data.
func pingIsAnswer(packet, data []byte, v6 bool) bool {
	proto, want := 1, icmp.Type(ipv4.ICMPTypeEchoReply) // protocol numbers of IANA
	if v6 {
		proto, want = 58, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(proto, packet)
	if err != nil || m.Type != want || m.Code != 0 {
		return false
	}
	echo, ok := m.Body.(*icmp.Echo)
	return ok && bytes.Equal(echo.Data, data)
}

// pingSimulator makes answers up: a wave between 1 and 30 ms, and every fiftieth second none.
type pingSimulator struct{ now func() time.Time }

func (s *pingSimulator) echo(ctx context.Context, _ pingHost) (time.Duration, error) {
	if s.now().Unix()%50 == 49 {
		return 0, errPingLost
	}
	v, err := simulatedWave(1, 30, time.Minute, s.now)(ctx)
	if err != nil {
		return 0, err
	}
	return time.Duration(v.(float64) * float64(time.Millisecond)), nil
}
