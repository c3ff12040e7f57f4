package main

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
)

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

// facts are what a host says of its machine; none of them changes while it runs.
type facts struct{ model, os, bootID string }

func readFacts() facts {
	return facts{model: boardModel(), os: osName(), bootID: fact("/proc/sys/kernel/random/boot_id")} // random(4)
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

// hardwareAddr returns the address of this machine's first interface that has one (locally administered ones, as those of
// containers, are passed over where another is there), or "".
func hardwareAddr() string {
	all, err := net.Interfaces()
	if err != nil {
		return "" // the host has none to tell
	}
	local := ""
	for _, i := range all {
		switch {
		case len(i.HardwareAddr) != 6 || i.Flags&net.FlagLoopback != 0:
		case i.HardwareAddr[0]&2 == 0:
			return i.HardwareAddr.String()
		case local == "":
			local = i.HardwareAddr.String()
		}
	}
	return local
}
