//go:build !linux

package fleet

import "net/netip"

// sourceControl does nothing: only Linux lets a datagram leave from any local address.
func sourceControl(netip.Addr) []byte { return nil }

// destination does not know: every datagram is taken for a broadcast.
func destination([]byte) netip.Addr { return netip.Addr{} }
