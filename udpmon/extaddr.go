package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"rollcall/config"
)

// Bounds of a look-up of the public address.
const (
	extAddrTimeout   = 10 * time.Second
	extAddrRetry     = time.Minute // how soon a failed look-up is tried again
	extAddrRedirects = 3
	extAddrAnswer    = 64 // bytes; the longest address has 45
)

// extAddr is the public address of the host, asked for in the background and never on a request's path.
type extAddr struct {
	mu   sync.Mutex
	addr string
}

func (e *extAddr) get() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addr
}

// set reports whether the address is another one.
func (e *extAddr) set(addr string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	changed := e.addr != addr
	e.addr = addr
	return changed
}

// run asks c.URL every c.Every and calls changed when the answer is another one. An answer that is no address makes the
// public address unknown. Where no URL is given it does nothing.
func (e *extAddr) run(ctx context.Context, c config.ExtAddr, log *slog.Logger, changed func()) error {
	if c.URL == "" {
		return nil
	}
	client := newExtAddrClient()
	failing := false
	for {
		wait := time.Duration(c.Every)
		addr, err := lookUp(ctx, client, c.URL)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if !failing {
				log.Warn("public address unknown", "err", err)
			}
			wait = min(wait, extAddrRetry)
		}
		failing = err != nil
		if e.set(addr) {
			changed()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// newExtAddrClient returns a client that keeps no connection: the next look-up is an hour away.
func newExtAddrClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport, Timeout: extAddrTimeout, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > extAddrRedirects {
			return errors.New("redirected too often")
		}
		return nil
	}}
}

// lookUp returns the address that the URL answers with.
func lookUp(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get %q: status %q", url, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, extAddrAnswer))
	if err != nil {
		return "", fmt.Errorf("get %q: %w", url, err)
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(string(b)))
	if err != nil || addr.Zone() != "" || !addr.IsGlobalUnicast() {
		return "", fmt.Errorf("get %q: answer %.40q is no address of a host", url, b)
	}
	return addr.Unmap().String(), nil
}
