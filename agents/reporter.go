package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/discover"
	"rollcall/reports"
)

// Bounds of the answers to requests.
const (
	reportTimeout  = 3 * time.Second // connect, publish and acknowledge
	reportsAtOnce  = 4               // brokers that are connected to at a time
	reportsWaiting = 64              // requests that may wait for that; one more is dropped
	answeredFor    = 10 * time.Minute
	answeredMost   = 4096
	failureEvery   = time.Minute // how often it is logged that answers were not delivered
	keyRetry       = time.Minute // how often a state directory that can't be read is tried again
)

// reporter answers the requests on the host's /udp/report for all services of the process: one connection to the requester's
// broker, and one report a service. It goes only where a pass of the host's monitor says.
type reporter struct {
	services func() []reports.Service
	deliver  func(context.Context, bus.Config, ...bus.Message) error
	now      func() time.Time
	timeout  time.Duration // of one answer
	log      *slog.Logger
	queue    chan answer

	mu       sync.Mutex
	passes   *discover.Passes     // nil until the key was read
	answered map[string]time.Time // by endpoint, topic and id
	said     time.Time            // when a failure was logged
	leftOut  int                  // failures since then

	cancel context.CancelFunc
	work   sync.WaitGroup
}

// answer is a request to which an answer is owed.
type answer struct {
	request  reports.Request
	endpoint discover.Endpoint
}

// startReporter subscribes to the requests and answers them until stop.
func (r *Runner) startReporter(ctx context.Context) *reporter {
	ctx, cancel := context.WithCancel(ctx)
	p := newReporter(r.Services, r.c.Deliver, r.log)
	p.cancel = cancel
	dir, broker := r.plan.stateDir, r.plan.broker
	broker.ClientID, broker.Log = "", r.log
	p.work.Go(func() { p.loadKey(ctx, dir) })
	p.work.Go(func() {
		client, err := bus.New(broker)
		if err == nil {
			err = client.Subscribe(ctx, 1, p.receive, reports.ReportTopic)
		}
		if err == nil {
			err = client.Run(ctx)
		}
		if err != nil {
			p.log.Error("requests can't be answered over MQTT", "err", err)
		}
	})
	for range reportsAtOnce {
		p.work.Go(func() { p.answerAll(ctx) })
	}
	return p
}

func newReporter(services func() []reports.Service, deliver func(context.Context, bus.Config, ...bus.Message) error, log *slog.Logger) *reporter {
	return &reporter{services: services, deliver: deliver, now: time.Now, timeout: reportTimeout, log: log,
		queue:    make(chan answer, reportsWaiting),
		answered: map[string]time.Time{}, cancel: func() {}}
}

// stop ends the reporter and waits for it.
func (p *reporter) stop() {
	p.cancel()
	p.work.Wait()
}

// loadKey reads the key of the passes, and tries again for as long as it can't be.
func (p *reporter) loadKey(ctx context.Context, dir string) {
	for {
		passes, err := discover.LoadPasses(dir)
		if err == nil {
			p.mu.Lock()
			p.passes = passes
			p.mu.Unlock()
			return
		}
		p.log.Warn("requests can't be answered over MQTT yet", "err", err, "retry_in", keyRetry)
		t := time.NewTimer(keyRetry)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// receive checks a request and queues it. It is called by the connection and never waits.
func (p *reporter) receive(m bus.Message) {
	if m.Retained {
		return // a request of long ago
	}
	req, err := reports.ParseRequest(m.Payload)
	if err != nil {
		p.log.Debug("request refused", "err", err)
		return
	}
	if req.Cmd == "getapps" || req.Pass == "" {
		return // the first is the monitor's to answer, the second is for programs that know only the original form
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.passes == nil {
		return
	}
	now := p.now()
	endpoint, err := p.passes.Open(req, now)
	if err != nil {
		p.log.Debug("request refused", "err", err)
		return
	}
	key := fmt.Sprintf("%s %q %s %s %s", endpoint.Addr, req.Topic, req.Cmd, req.ID, req.Seq)
	if req.ID == "" && req.Seq == "" {
		key += req.Pass
	}
	if !first(p.answered, key, now, answeredFor) {
		return
	}
	select {
	case p.queue <- answer{req, endpoint}:
	default:
		delete(p.answered, key)
		p.logFailure(endpoint, fmt.Errorf("%d requests are waiting already", reportsWaiting))
	}
}

// first reports whether the key was not seen within the time, and notes it. It forgets the old ones when there are many.
func first(seen map[string]time.Time, key string, now time.Time, within time.Duration) bool {
	if at, ok := seen[key]; ok && now.Sub(at) < within {
		return false
	}
	if len(seen) >= answeredMost {
		oldest, when := "", now
		for k, at := range seen {
			switch {
			case now.Sub(at) >= within:
				delete(seen, k)
			case !at.After(when):
				oldest, when = k, at
			}
		}
		if len(seen) >= answeredMost {
			delete(seen, oldest)
		}
	}
	seen[key] = now
	return true
}

// answerAll answers what is queued until ctx ends.
func (p *reporter) answerAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-p.queue:
			if err := p.answer(ctx, a); err != nil && ctx.Err() == nil {
				p.mu.Lock()
				p.logFailure(a.endpoint, err)
				p.mu.Unlock()
			}
		}
	}
}

// answer delivers one report a service to the requester's broker.
func (p *reporter) answer(ctx context.Context, a answer) error {
	var messages []bus.Message
	for _, s := range p.services() {
		payload, err := json.Marshal(reports.ReportFor(a.request, s))
		if err != nil {
			return fmt.Errorf("marshal report of %s: %w", s.Name, err)
		}
		messages = append(messages, bus.Message{Topic: a.request.Topic, Payload: payload, QoS: 1})
	}
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return p.deliver(ctx, bus.ForeignAt(a.endpoint.Addr, a.endpoint.TLS), messages...)
}

// logFailure says that an endpoint can't be answered, once a minute in all: requests name as many as they like. The caller
// holds mu.
func (p *reporter) logFailure(e discover.Endpoint, err error) {
	now := p.now()
	if !p.said.IsZero() && now.Sub(p.said) < failureEvery {
		p.leftOut++
		return
	}
	p.log.Info("report not delivered", "endpoint", e.Addr.String(), "err", err, "left_out", p.leftOut)
	p.said, p.leftOut = now, 0
}
