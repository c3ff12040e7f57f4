package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/config"
)

const arch = runtime.GOARCH

// maxAddrs is how many of its addresses a host tells.
const maxAddrs = 8

// localAddrs returns this machine's addresses that others may reach it at, IPv4 first.
func localAddrs() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // a host that can't list its addresses still answers; the reply's source tells where it is
	}
	var out []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			out = append(out, p.Addr().Unmap())
		}
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return out[:min(len(out), maxAddrs)]
}

// fact returns the first line of a file, or "".
func fact(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.Trim(string(line), "\x00 \t")
}

// boardModel returns what the device tree calls the board (Devicetree specification §2.3.2), or what the firmware does.
func boardModel() string {
	if m := fact("/proc/device-tree/model"); m != "" {
		return m
	}
	return fact("/sys/class/dmi/id/product_name")
}

// bootID returns the kernel's id of this boot (random(4)).
func bootID() string { return fact("/proc/sys/kernel/random/boot_id") }

// osName returns PRETTY_NAME of os-release(5).
func osName() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return runtime.GOOS
}

// exists reports whether the file is there; one that can't be looked at counts as there.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !os.IsNotExist(err)
}

func marshal(v any) ([]byte, error) { return json.Marshal(v) }

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

// extAddrRetry is how soon a failed look-up is tried again.
const extAddrRetry = time.Minute

// run asks c.URL every c.Every and calls changed when the answer is another one. An answer that is no address makes the
// public address unknown.
func (e *extAddr) run(ctx context.Context, c config.ExtAddr, log *slog.Logger, changed func()) error {
	if c.URL == "" {
		return nil
	}
	failing := false
	for {
		wait := time.Duration(c.Every)
		addr, err := lookUp(ctx, c.URL)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !failing {
				log.Warn("public address unknown", "url", c.URL, "err", err)
			}
			wait = min(wait, extAddrRetry)
		}
		failing = err != nil
		e.mu.Lock()
		fresh := e.addr != addr
		e.addr = addr
		e.mu.Unlock()
		if fresh {
			changed()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// lookUp returns the address that the URL answers with.
func lookUp(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 256))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", resp.Status)
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(string(b)))
	if err != nil {
		return "", fmt.Errorf("answer %.40q is no address", b)
	}
	return addr.String(), nil
}
