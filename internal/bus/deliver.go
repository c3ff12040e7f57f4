package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
)

// ForeignAt returns the configuration for a broker at an address that was learnt from the network and checked: filtered,
// without credentials, and connected to at this address and no other.
func ForeignAt(addr netip.AddrPort, tls bool) Config {
	scheme := "tcp"
	if tls {
		scheme = "ssl"
	}
	return Config{URL: scheme + "://" + addr.String(), Foreign: true}
}

// Deliver connects to the broker of c, publishes the messages one after the other, each until the broker has acknowledged
// it, and disconnects. It is for answers to a requester's broker. ctx bounds the whole. It connects once: when that fails, or the
// connection is lost, it returns the reason, so that nobody can have this host knock at another's door again and again.
func Deliver(ctx context.Context, c Config, messages ...Message) error {
	c.once = true
	client, err := New(c)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = client.Run(running) }) // Run returns nil when its context ends
	defer wg.Wait()
	defer stop()
	if err := client.Wait(ctx); err != nil {
		return client.gaveUp(ctx, err)
	}
	for _, m := range messages {
		if err := client.Publish(ctx, m); err != nil {
			return fmt.Errorf("deliver to %s: %w", c.URL, client.gaveUp(ctx, err))
		}
	}
	return nil
}

// gaveUp returns err, or what stands behind it when the one attempt has ended.
func (c *Client) gaveUp(ctx context.Context, err error) error {
	if !errors.Is(err, ErrStopped) {
		return err
	}
	if ctx.Err() != nil {
		return c.unreachable(ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return cmp.Or(c.why, err)
}
