package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/reports"
	"rollcall/reports/prometheus"
)

// Times and bounds of /metrics.
const (
	watched   = 5 * time.Minute        // for how long the services' values are followed after a scrape
	catchUp   = 300 * time.Millisecond // how long the first scrape waits for the values that the broker keeps
	headerMax = 8 << 10                // bytes
)

// metrics serves what Prometheus scrapes. As long as nobody does, it costs nothing: the services' values are followed from the
// first scrape on, until there has been none for a while.
type metrics struct {
	m        *monitor
	listener net.Listener

	mu       sync.Mutex
	view     *view // nil while nobody scrapes
	caughtUp time.Time
	expires  time.Time
}

// openMetrics opens the listener. That of an address which nobody has asked for in words is not worth a failure.
func (m *monitor) openMetrics() error {
	addr := m.cfg.Metrics.Listen
	if addr == config.Off {
		return nil
	}
	l, err := net.Listen("tcp", addr)
	switch {
	case err != nil && addr == config.DefaultMetrics:
		m.log.Warn("metrics are not served", "err", err)
		return nil
	case err != nil:
		return fmt.Errorf("metrics.listen: %w", err)
	}
	m.metrics = &metrics{m: m, listener: l}
	return nil
}

// run serves until ctx ends.
func (x *metrics) run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", x.serve)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Rollcall: /metrics is for Prometheus.")
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: headerMax, ErrorLog: slog.NewLogLogger(x.m.log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // a scrape that is cut short is made again
	defer stop()
	if err := s.Serve(x.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (x *metrics) serve(w http.ResponseWriter, r *http.Request) {
	v, wait := x.follow()
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	h := v.snapshot()
	h.IPAddr, h.Status = "", reports.Online
	all := append(prometheus.Points(reports.Cluster{Hosts: []reports.Host{h}}), x.m.own()...)
	w.Header().Set("Content-Type", prometheus.ContentType)
	_, _ = w.Write(prometheus.Write(all)) // whoever asked has gone
}

// filter is what the services of the host publish. It is spelt another way than that of the faces, so that each can end.
func (x *metrics) filter() string { return "/" + x.m.cfg.Host + "/+/#" }

// follow returns the view of the services, and how long to wait until it is whole.
func (x *metrics) follow() (*view, time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	x.expires = now.Add(watched)
	if x.view == nil {
		v := newView(x.m.self())
		x.view, x.caughtUp = v, now.Add(catchUp)
		x.m.viewers.add(v)
		ctx, cancel := context.WithTimeout(context.Background(), catchUp)
		defer cancel()
		if err := x.m.client.Subscribe(ctx, 0, v.take, x.filter()); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			x.m.log.Debug("values are not followed", "err", err)
		}
	}
	return x.view, x.caughtUp.Sub(now)
}

// rest stops following the services when nobody has scraped for a while.
func (x *metrics) rest(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.view != nil && now.After(x.expires) {
		x.m.viewers.remove(x.view)
		x.view = nil
		x.m.client.Unsubscribe(x.filter())
	}
}

// own returns the metrics of this daemon itself.
func (m *monitor) own() []prometheus.Metric {
	counts := m.responder.Stats()
	outcomes := prometheus.Metric{Name: "rollcall_datagrams_total", Type: prometheus.Counter, Help: "Datagrams and requests of sweeps by what came of them."}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		outcomes.Samples = append(outcomes.Samples, prometheus.Sample{Labels: []prometheus.Label{{Name: "outcome", Value: name}}, Value: float64(counts[name])})
	}
	all := []prometheus.Metric{outcomes}
	one := func(name, kind, help string, v float64) {
		all = append(all, prometheus.One(name, kind, help, v))
	}
	one("rollcall_mqtt_connected", prometheus.Gauge, "Whether udpmon is connected to the host's broker.", prometheus.Truth(m.client.Connected()))
	one("rollcall_mqtt_connects_total", prometheus.Counter, "Connections of udpmon to the host's broker since it started.", float64(m.connects.Load()))
	one("rollcall_mqtt_dropped_total", prometheus.Counter, "Messages of udpmon that were dropped because the broker was gone or slow.", float64(m.client.Dropped()))
	one("rollcall_mqtt_missed_total", prometheus.Counter, "Messages that came faster than udpmon could take them.", float64(m.client.Missed()))
	one("rollcall_start_time_seconds", prometheus.Gauge, "When udpmon started, in seconds of Unix time.", float64(m.started.Unix()))
	if m.broker == nil {
		return all
	}
	s := m.broker.Stats()
	one("rollcall_broker_clients", prometheus.Gauge, "Clients of the embedded broker.", float64(s.Clients))
	one("rollcall_broker_retained", prometheus.Gauge, "Retained messages of the embedded broker.", float64(s.Retained))
	one("rollcall_broker_received_total", prometheus.Counter, "Messages that the embedded broker has received.", float64(s.Received))
	one("rollcall_broker_sent_total", prometheus.Counter, "Messages that the embedded broker has sent.", float64(s.Sent))
	one("rollcall_broker_dropped_total", prometheus.Counter, "Messages of the embedded broker that slow clients have lost.", float64(s.Dropped+s.InflightDropped))
	one("rollcall_broker_denied_total", prometheus.Counter, "Publishes and subscriptions that the embedded broker has refused.", float64(s.Denied))
	one("rollcall_broker_turned_away_total", prometheus.Counter, "Connections that the embedded broker has closed at once, because there were too many.", float64(s.Turned))
	return all
}

// viewers are the views of the services that there are at a time. It is safe for concurrent use; its zero value has none.
type viewers struct {
	mu  sync.Mutex
	all []*view
}

func (v *viewers) add(one *view) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = append(v.all, one)
}

func (v *viewers) remove(one *view) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = slices.DeleteFunc(v.all, func(o *view) bool { return o == one })
}

// each calls f with each.
func (v *viewers) each(f func(*view)) {
	v.mu.Lock()
	all := slices.Clone(v.all)
	v.mu.Unlock()
	for _, one := range all {
		f(one)
	}
}
