package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The public address is asked for in the background, told, and forgotten when it is not known any more.
func TestExtAddr(t *testing.T) {
	t.Parallel()
	answers := make(chan string, 1)
	answers <- " 203.0.113.7\n"
	asked := make(chan struct{}, 100)
	last := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case last = <-answers: // one request at a time
		default:
		}
		switch last {
		case "500":
			w.WriteHeader(http.StatusInternalServerError)
		case "loop":
			asked <- struct{}{}
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			fmt.Fprint(w, last)
		}
	}))
	t.Cleanup(srv.Close)
	b := startBed(t, func(c *config.Config) {
		c.Discovery.ExtAddr = config.ExtAddr{URL: srv.URL, Every: reports.Duration(5 * time.Millisecond)}
	})
	told := func(want string) {
		t.Helper()
		eventually(t, "public address", want, func() string { return b.sweep().ExtAddr })
	}
	told("203.0.113.7")
	got := listen(t, b.dial(), reports.ReportTopic)
	ask(t, "127.0.0.1", b.port, `{"cmd":"status","replyto":"127.0.0.1:1","topic":"/x","id":"with"}`)
	for r := (map[string]any{}); r["id"] != "with"; {
		if r = fields(t, next(t, got, "request").Payload); r["extaddr"] != "203.0.113.7" {
			t.Errorf("published %v", r)
		}
	}
	for i, tt := range [][2]string{
		{"garbage", ""}, {"2001:db8::1", "2001:db8::1"}, {"500", ""}, {"::ffff:198.51.100.1", "198.51.100.1"}, {"fe80::1%<script>", ""},
		{"203.0.113.8", "203.0.113.8"}, {"0.0.0.0", ""}, {"203.0.113.9", "203.0.113.9"}, {strings.Repeat("1", 1<<20), ""}, {"203.0.113.10", "203.0.113.10"},
		{"127.0.0.1", ""}, {"203.0.113.11", "203.0.113.11"}, {"loop", ""},
	} {
		answers <- tt[0]
		told(tt[1])
		if want := i/2 + 1; tt[1] == "" {
			eventually(t, "lines about the address", want, func() int { return len(b.log.having("public address unknown")) })
		}
	}
	if b.log.having("\n\n") != nil || strings.Contains(b.log.String(), strings.Repeat("1", 100)) {
		t.Error("the log repeats a long answer")
	}
	for range extAddrRedirects + 1 {
		select {
		case <-asked:
		case <-time.After(limit):
			t.Fatal("redirects are not followed")
		}
	}
}

// A look-up that hangs keeps neither a request nor the end of the daemon waiting.
func TestExtAddrThatHangs(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := startBed(t, func(c *config.Config) { c.Discovery.ExtAddr.URL = "http://" + l.Addr().String() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if h := b.sweep(); h.ExtAddr != "" {
		t.Errorf("public address is %q", h.ExtAddr)
	}
	start := time.Now()
	if err := b.stop(); err != nil || time.Since(start) > 8*time.Second {
		t.Errorf("stop took %v: %v", time.Since(start), err)
	}
}

func TestExtAddrIsOffByDefault(t *testing.T) {
	t.Parallel()
	var e extAddr
	if err := e.run(context.Background(), config.Default().Discovery.ExtAddr, quiet(), func() { t.Error("it asks") }); err != nil {
		t.Error(err)
	}
}
