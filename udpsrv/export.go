package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"rollcall/reports"
	"rollcall/reports/prometheus"
)

// exporting is the options of export.
type exporting struct {
	asking
	listen  string
	fileSD  string
	every   time.Duration
	metrics int
}

// freshness is how old what a scrape gets may be: several that scrape at once cost one sweep.
const freshness = 5 * time.Second

func newExport(a *app) *cobra.Command {
	var e exporting
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Serve the points of all hosts as metrics, and the hosts as targets, for one Prometheus",
		Long: `Serve, until it is interrupted:

  /metrics   the points of all hosts that answer, in Prometheus's text format: each scrape sweeps, at most once in five seconds
  /targets   the hosts as targets of Prometheus's http_sd_configs, for one that scrapes the hosts' own /metrics itself

With --file-sd the targets are written to a file, for file_sd_configs, whenever they change.`,
		Example: "  udpsrv export\n  udpsrv export --listen 0.0.0.0:9138 --want 'pi*'\n  udpsrv export --file-sd /etc/prometheus/rollcall.json --every 1m",
		Args:    noArgs,
		RunE:    action(func(ctx context.Context, _ []string) error { return e.run(ctx, a) }),
	}
	e.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&e.want, "want", "", "only hosts of this name pattern, or service=PATTERN, class=PATTERN, or several with commas")
	f.StringVar(&e.listen, "listen", "127.0.0.1:9138", "address to serve on")
	f.StringVar(&e.fileSD, "file-sd", "", "file to write the targets to")
	f.DurationVar(&e.every, "every", 30*time.Second, "how often hosts are looked for while nobody scrapes; at least 5s")
	f.IntVar(&e.metrics, "metrics-port", 9137, "port of the hosts' own /metrics, for the targets")
	return cmd
}

func (e *exporting) run(ctx context.Context, a *app) error {
	switch {
	case e.every < freshness:
		return usagef("--every: %s is less than %s", e.every, freshness)
	case e.metrics < 1 || e.metrics > 65535:
		return usagef("--metrics-port: %d is no port", e.metrics)
	}
	if err := e.check(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", e.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	x := &exporter{e: e, a: a}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", x.serveMetrics)
	mux.HandleFunc("GET /targets", x.serveTargets)
	server := &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return ctx }, ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 5 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	fmt.Fprintf(a.err, "metrics on http://%s/metrics, targets on http://%s/targets\n", l.Addr(), l.Addr())
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	first := a.begin("looking for hosts")
	for {
		_, err := x.look(ctx)
		if first.end(); err != nil && ctx.Err() == nil {
			a.warnf("%v", err)
		}
		select {
		case <-ctx.Done():
			_ = server.Close() // a scrape that is cut short is made again
			<-failed
			return nil
		case err := <-failed:
			return err
		case <-tick.C:
		}
	}
}

// exporter looks for hosts when somebody asks, and at most once in freshness.
type exporter struct {
	e *exporting
	a *app

	mu      sync.Mutex // held while it looks, so that all who ask meanwhile get the same
	looked  time.Time
	cluster reports.Cluster
	took    time.Duration
	missing int
	unread  int
	written string // to --file-sd
}

// look returns the cluster as it is, or as it was a moment ago. What could not be read of it is counted.
func (x *exporter) look(ctx context.Context) (reports.Cluster, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.looked.IsZero() && time.Since(x.looked) < freshness {
		return x.cluster, nil
	}
	quiet := *x.a
	quiet.err = &output{w: io.Discard}
	began := time.Now()
	rd, cluster, unread, err := quiet.gather(ctx, &x.e.asking, true)
	if err != nil {
		return reports.Cluster{}, err
	}
	x.looked, x.took = time.Now(), time.Since(began)
	x.cluster, x.missing, x.unread = cluster, len(rd.missing), len(unread)
	return cluster, errors.Join(errors.Join(rd.distrusted...), x.write())
}

func (x *exporter) serveMetrics(w http.ResponseWriter, r *http.Request) {
	cluster, err := x.look(r.Context())
	if err != nil && len(cluster.Hosts) == 0 {
		http.Error(w, reports.OneLine(err.Error()), http.StatusServiceUnavailable)
		return
	}
	all := prometheus.Points(cluster)
	x.mu.Lock()
	for _, m := range []struct {
		name, help string
		v          float64
	}{
		{"rollcall_hosts", "Hosts that answered the sweep.", float64(len(cluster.Hosts))},
		{"rollcall_hosts_missing", "Hosts that answered before and did not now.", float64(x.missing)},
		{"rollcall_hosts_unread", "Hosts that answered, whose broker could not be read.", float64(x.unread)},
		{"rollcall_sweep_duration_seconds", "How long the sweep and reading the brokers took.", x.took.Seconds()},
	} {
		all = append(all, prometheus.One(m.name, prometheus.Gauge, m.help, m.v))
	}
	x.mu.Unlock()
	w.Header().Set("Content-Type", prometheus.ContentType)
	_, _ = w.Write(prometheus.Write(all)) // whoever asked has gone
}

func (x *exporter) serveTargets(w http.ResponseWriter, r *http.Request) {
	cluster, err := x.look(r.Context())
	if err != nil && len(cluster.Hosts) == 0 {
		http.Error(w, reports.OneLine(err.Error()), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, targets(cluster, x.e.metrics))
}

// write writes the targets to the file of --file-sd, where they are others than before. The mutex is held.
func (x *exporter) write() error {
	doc := targets(x.cluster, x.e.metrics)
	if x.e.fileSD == "" || doc == x.written {
		return nil
	}
	if err := writeWhole(x.e.fileSD, []byte(doc)); err != nil {
		return fmt.Errorf("--file-sd: %w", err)
	}
	x.written = doc
	return nil
}

// scrapeTarget is an entry of file_sd_configs and http_sd_configs
// (https://prometheus.io/docs/prometheus/latest/http_sd/#http_sd-format).
type scrapeTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// targets returns the hosts that have an address as targets.
func targets(c reports.Cluster, port int) string {
	out := []scrapeTarget{}
	for _, h := range c.Hosts {
		addr, err := netip.ParseAddr(h.IPAddr)
		if err != nil || h.ID == "" { // a program of the original form has no metrics
			continue
		}
		labels := map[string]string{"__meta_rollcall_host": h.Name, "__meta_rollcall_id": h.ID}
		for name, text := range map[string]string{"model": h.Model, "os": h.OS, "arch": h.Arch, "version": h.Version} {
			if text = reports.OneLine(text); text != "" {
				labels["__meta_rollcall_"+name] = text
			}
		}
		out = append(out, scrapeTarget{[]string{net.JoinHostPort(addr.String(), strconv.Itoa(port))}, labels})
	}
	doc, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		panic(err) // strings only
	}
	return string(doc) + "\n"
}
