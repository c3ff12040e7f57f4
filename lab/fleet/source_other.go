//go:build !linux

package fleet

import "net/netip"

// sourceControl does nothing: only Linux lets a datagram leave from any local address.
func sourceControl(netip.Addr) []byte { return nil }
