package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus/bustest"
)

// fetch returns the body and the status of a URL.
func fetch(t *testing.T, url string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), r.StatusCode
}

// TestExport scrapes two hosts through one address, and finds them as targets.
func TestExport(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	serve(t, url, nil)
	publishRetained(t, url, "/pizero2/gpio/output/pump", "ON", "/pizero2/gpio/output/level", "12.5", "/pizero2/gpio/status/health", `{"reads":7}`)
	r := boot(t, hostNamed("pizero2", 1, url), nil)
	closed := boot(t, hostNamed("closed", 2, "tcp://"+freePort(t)), nil)
	l := newLaptop(t)
	file := filepath.Join(t.TempDir(), "targets.json")
	ctx, cancel := context.WithCancel(context.Background())
	errs, said := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"--cache", l.cache, "--keys", l.keys, "export", "--listen", "127.0.0.1:0", "--to", r.addr + "," + closed.addr, "--file-sd", file},
			strings.NewReader(""), io.Discard, said)
		_ = said.Close() // a pipe's end
	}()
	first := make([]byte, 4096)
	n, err := errs.Read(first)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, errs) }() // until the command ends
	at := regexp.MustCompile(`http://(\S+)/metrics`).FindSubmatch(first[:n])
	if at == nil {
		t.Fatalf("says %q", first[:n])
	}
	base := "http://" + string(at[1])
	metrics, status := fetch(t, base+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, metrics)
	}
	for _, want := range []string{`rollcall_state{host="pizero2",service="gpio",point="output/pump",class=""} 1`, `service="gpio",point="output/level"`, `rollcall_host_up{host="closed"} 1`,
		`rollcall_service_reads_total{host="pizero2",service="gpio"} 7`, "rollcall_hosts 2", "rollcall_hosts_unread 1", "rollcall_hosts_missing 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	found, status := fetch(t, base+"/targets")
	var list []scrapeTarget
	if err := json.Unmarshal([]byte(found), &list); err != nil || status != http.StatusOK || len(list) != 2 || list[1].Targets[0] != "127.0.0.1:9137" ||
		list[1].Labels["__meta_rollcall_host"] != "pizero2" {
		t.Errorf("targets %s, status %d, %v", found, status, err)
	}
	if written, err := os.ReadFile(file); err != nil || string(written) != found {
		t.Errorf("the file has %s, %v", written, err)
	}
	if _, status := fetch(t, base+"/other"); status != http.StatusNotFound {
		t.Errorf("status of another path: %d", status)
	}
	cancel()
	select {
	case code := <-done:
		if code != exitOK {
			t.Errorf("ends with %d", code)
		}
	case <-time.After(patience):
		t.Error("does not end")
	}
}

func TestExportUsage(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	for _, args := range [][]string{{"--every", "1s"}, {"--metrics-port", "0"}, {"--metrics-port", "70000"}, {"--every", "x"}, {"more"}} {
		l.want(exitUsage, append([]string{"export"}, args...)...)
	}
	_, stderr := l.want(exitFail, "export", "--listen", "127.0.0.1:99999")
	if !strings.Contains(stderr, "--listen") {
		t.Errorf("stderr %q", stderr)
	}
}
