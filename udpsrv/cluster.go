package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// Bounds of what is read of one host.
const (
	readAtOnce   = 32 // hosts
	maxRetained  = 1 << 14
	maxHostBytes = 16 << 20
)

// gather sweeps, reads what the services of the hosts say of themselves, and remembers it. Beside the cluster it returns why hosts
// could not be read.
func (a *app) gather(ctx context.Context, q *asking, values bool) (*round, reports.Cluster, []error, error) {
	known, scope := a.openCache(), q.scope()
	rd, err := q.ask(ctx, a, nil, known.expect(scope), nil)
	if err != nil {
		return nil, reports.Cluster{}, nil, err
	}
	for _, id := range rd.stats.Missing {
		rd.missing = append(rd.missing, known.nameOf(id))
	}
	a.summary(rd)
	known.learn(rd, scope)
	cluster, unread := a.cluster(ctx, rd, values)
	for _, h := range cluster.Hosts {
		known.describe(h.ID, h.Name, describedOnly(h))
	}
	a.save(known)
	if ctx.Err() != nil {
		return nil, reports.Cluster{}, nil, errInterrupted
	}
	return rd, cluster, unread, nil
}

// cluster reads what the services of the hosts of a sweep say of themselves from the brokers of their hosts, and the last
// values of their points where values says so. A host whose broker can't be read is in it with what the sweep told; why that is
// so, is returned beside it.
func (a *app) cluster(ctx context.Context, rd *round, values bool) (reports.Cluster, []error) {
	hosts := rd.sorted()
	all, errs := make([]reports.Host, len(hosts)), make([]error, len(hosts))
	var running sync.WaitGroup
	var read atomic.Int64
	p := a.begin("reading what %s say", plural(len(hosts), "host"))
	defer p.end()
	slots := make(chan struct{}, readAtOnce)
	for i, h := range hosts {
		slots <- struct{}{}
		running.Go(func() {
			all[i], errs[i] = a.describe(ctx, h, values)
			p.set("reading what hosts say: %d of %d", read.Add(1), len(hosts))
			<-slots
		})
	}
	running.Wait()
	return reports.NewCluster(all), slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// describe returns a host with all that can be learnt of it.
func (a *app) describe(ctx context.Context, h *host, values bool) (reports.Host, error) {
	out := reports.Host{ID: h.ID, Name: h.Hostname, IPAddr: h.IPAddr, ExtAddr: h.ExtAddr, MAC: h.mac, Model: h.model, OS: h.os, Arch: h.arch, Version: h.version}
	if slices.Contains(h.Via, viaUDP) {
		out.Status = reports.Online
	}
	e := entryOf(h, time.Time{})
	read := retained{}
	brokers, err := e.usable()
	for _, b := range brokers {
		out.Brokers = append(out.Brokers, b.String())
	}
	if a.named != nil {
		brokers, err = []brokerURL{*a.named}, nil
		out.Brokers = []string{a.named.stranger().String()}
	}
	for _, b := range brokers {
		if read, err = a.readRetained(ctx, b, e, values); err == nil {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", h.Hostname, err)
	}
	out.Services = read.services(h)
	return out, err
}

// retained is what a broker keeps of one host, by topic with a leading slash.
type retained struct {
	host string
	kept map[string][]byte
}

// readRetained reads what a broker keeps of a host: once the host's own status comes, for which is asked last, all else has come.
// A broker that has no such status is waited for for verifyWait.
func (a *app) readRetained(ctx context.Context, b brokerURL, e entry, values bool) (retained, error) {
	r := retained{host: e.Hostname, kept: map[string][]byte{}}
	if b.pinned == nil {
		var err error
		if b, err = a.pin(b, e); err != nil {
			return r, err
		}
	}
	tails := []string{"/+/description", "/+/status", "/+/error"}
	if values {
		tails = []string{"/+/+/#"}
	}
	var filters []string
	for _, t := range tails {
		filters = append(filters, "/"+e.Hostname+t, e.Hostname+t)
	}
	err := withBroker(ctx, a, b, connectWait, func(ctx context.Context, l *link) error {
		var mu sync.Mutex
		size := 0
		keep := func(m bus.Message) {
			mu.Lock()
			defer mu.Unlock()
			if size += len(m.Topic) + len(m.Payload); m.Retained && len(r.kept) < maxRetained && size < maxHostBytes {
				r.kept["/"+strings.TrimPrefix(m.Topic, "/")] = m.Payload
			}
		}
		ctx, cancel := context.WithTimeout(ctx, connectWait)
		defer cancel()
		if err := l.Subscribe(ctx, 0, keep, filters...); err != nil {
			return err
		}
		last := make(chan struct{})
		seen := sync.OnceFunc(func() { close(last) })
		if err := l.Subscribe(ctx, 0, func(bus.Message) { seen() }, reports.HostStatus(e.Hostname)); err != nil {
			return err
		}
		enough := time.NewTimer(verifyWait)
		defer enough.Stop()
		select {
		case <-last:
		case <-enough.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}) // and no handler runs any more
	return r, err
}

// services returns the services that a sweep told of, and those that describe themselves.
func (r retained) services(h *host) []reports.HostService {
	var out []reports.HostService
	for _, f := range h.Services {
		out = append(out, reports.HostService{Status: f.Status, Service: reports.Service{Name: f.Name, Function: f.Function, Inputs: f.Inputs, Outputs: f.Outputs,
			Control: f.Control, Simulated: f.Simulated}})
	}
	for topic, payload := range r.kept {
		name, ok := strings.CutSuffix(strings.TrimPrefix(topic, "/"+r.host+"/"), "/description")
		if !ok {
			continue
		}
		d, err := reports.ParseService(payload, name)
		if err != nil {
			continue
		}
		if i := slices.IndexFunc(out, func(s reports.HostService) bool { return s.Name == name }); i >= 0 {
			out[i].Service, out[i].Described = d, true
		} else if len(out) < maxServices {
			out = append(out, reports.HostService{Service: d, Described: true})
		}
	}
	for i := range out {
		r.state(&out[i])
	}
	return out
}

// state fills in what stands on the topics of a service.
func (r retained) state(s *reports.HostService) {
	t := reports.Topics{Host: r.host, Service: s.Name}
	if st := reports.Status(r.kept[t.To("status")]); st == reports.Online || st == reports.Offline {
		s.Status = st
	}
	s.Error = string(r.kept[t.To("error")])
	if h, ok := reports.ParseHealth(r.kept[t.To(reports.HealthTail)]); ok {
		s.Health = &h
	}
	for _, p := range s.Points {
		if payload := r.kept[t.To(p.Path)]; len(payload) > 0 {
			if s.Values == nil {
				s.Values = map[string]string{}
			}
			s.Values[p.Path] = string(payload)
		}
	}
}

// untold returns one line about hosts that could not be read.
func untold(errs []error) string {
	var lines []string
	for _, err := range errs {
		lines = append(lines, err.Error())
	}
	return "described by the sweep alone: " + listed(lines)
}
