package discover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// socketBuffer is what is asked for as receive and send buffer: 4 MiB hold 3,000 requests or 13,000 replies of 500 bytes
// while nobody reads (DISCOVERY.md §2.2); the default holds 166.
const socketBuffer = 4 << 20

// Listen opens the discovery socket: UDP on all addresses (or on addr, for tests: "127.0.0.1:0"), with the largest receive
// buffer that it may have, IP_PKTINFO on, and SO_BROADCAST; "" means Port on all addresses. On all addresses it takes IPv4 and
// IPv6, where the machine has both.
func Listen(addr string) (*net.UDPConn, error) {
	if addr == "" {
		addr = ":" + strconv.Itoa(Port)
	}
	a, err := net.ResolveUDPAddr(network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen for requests on %q: %w", addr, err)
	}
	conn, err := net.ListenUDP(network, a) // SO_BROADCAST is set by package net
	if err != nil {
		return nil, fmt.Errorf("listen for requests: %w", err)
	}
	enlarge(conn)
	if isSix(conn) {
		err = ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst|ipv6.FlagHopLimit, true)
	} else {
		err = ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("learn the interfaces that requests come in on: %w", err), conn.Close())
	}
	return conn, nil
}

// Sizes by which a sweep reckons (DISCOVERY.md §2.2).
const (
	defaultBuffer = 212_992 // bytes: net.core.rmem_max of many kernels
	bytesPerReply = 1280    // that a reply of 500 bytes takes of a buffer
)

// socketState is what the kernel says of a socket.
type socketState struct {
	queued int    // bytes that are not read yet
	buffer int    // bytes that it may hold, as the kernel reckons
	drops  uint32 // datagrams that there was no room for
}

// listenFor opens the socket of a sweep on a local address, with so many bytes of receive buffer; 0: as many as can be had.
func listenFor(local netip.Addr, buffer int) (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		return nil, err
	}
	if buffer > 0 {
		return conn, conn.SetReadBuffer(buffer)
	}
	enlarge(conn)
	return conn, nil
}

// enlarge gives the socket the largest buffers that it may have. That they stay small is no error.
func enlarge(conn *net.UDPConn) {
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	forceBuffers(conn)
}

// route returns the address that a datagram to dst leaves from. Nothing is sent.
func route(dst netip.AddrPort) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(dst))
	if err != nil {
		return netip.Addr{}, err
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return local, conn.Close()
}
