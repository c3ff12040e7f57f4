package main

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// remote returns the host of the broker if that may be another machine, else "".
func (a brokerAt) remote() string {
	u, err := url.Parse(a.url)
	if err != nil || a.loopback || a.listen.IsValid() {
		return ""
	}
	return u.Hostname()
}

// keepBrokerAddrs looks up where a broker on another machine is, at first and each quarter of an hour, so that no requester is
// ever taken for it. While its name can't be looked up, none is installed as neighbour.
func (m *monitor) keepBrokerAddrs(ctx context.Context) error {
	const often, seldom, limit = 10 * time.Second, 15 * time.Minute, 5 * time.Second
	for host := m.at.remote(); host != ""; {
		wait, cancel := context.WithTimeout(ctx, limit)
		addrs, err := net.DefaultResolver.LookupNetIP(wait, "ip", host)
		cancel()
		pause := seldom
		if err != nil {
			pause = often // what was known before still holds
		} else {
			for i := range addrs {
				addrs[i] = addrs[i].Unmap().WithZone("")
			}
			m.brokerAddrs.Store(&addrs)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
	<-ctx.Done()
	return nil
}

// brokers returns the addresses of a broker on another machine, for the responder; nil for as long as they are not known.
func (m *monitor) brokers() []netip.Addr {
	if p := m.brokerAddrs.Load(); p != nil {
		return *p
	}
	if m.at.remote() == "" {
		return []netip.Addr{}
	}
	return nil
}
