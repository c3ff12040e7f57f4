package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
	"time"

	"rollcall/internal/bus"
	"rollcall/internal/discover"
	"rollcall/reports"
)

// answersAtOnce is how many brokers are connected to at a time, so that one that hangs does not hold up the others.
const answersAtOnce = 4

// discoveredRequest is a request with the checked address that its answer goes to.
type discoveredRequest struct {
	reports.Request
	endpoint discover.Endpoint
}

// publish hands an obeyed request to the host's programs.
func (m *monitor) publish(r reports.Request, from netip.AddrPort, own bool) {
	if own && r.Pass != "" { // its answers come to a broker of this host
		m.replies.add(r.Topic, m.now())
		select {
		case m.asks <- r:
			return
		default: // then without waiting for the subscription
		}
	}
	m.hand(r)
}

// hand publishes a request, and queues the answer that is the monitor's own to give. A request that finds the broker gone is
// dropped: its answer would come too late to be of use.
func (m *monitor) hand(r reports.Request) {
	payload, err := json.Marshal(r)
	if err != nil || !m.client.Connected() {
		m.log.Debug("request not published", "connected", m.client.Connected(), "err", err)
	} else {
		m.client.Send(bus.Message{Topic: reports.ReportTopic, Payload: payload, QoS: 1})
	}
	if err != nil || r.Cmd != "getapps" || r.Pass == "" {
		return
	}
	endpoint, err := m.passes.Open(r, time.Now())
	if err != nil {
		m.log.Error("own pass refused", "err", err)
		return
	}
	select {
	case m.answers <- discoveredRequest{r, endpoint}:
	default:
		if m.failures.allow("getapps", m.now()) {
			m.log.Warn("getapps not answered: too many at once", "broker", endpoint.Addr)
		}
	}
}

// answerApps answers getapps at the requesters' brokers.
func (m *monitor) answerApps(ctx context.Context) error {
	var workers sync.WaitGroup
	for range answersAtOnce {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case r := <-m.answers:
					if err := m.answer(ctx, r); err != nil && ctx.Err() == nil && m.failures.allow("answer", m.now()) {
						m.log.Info("getapps not answered", "broker", r.endpoint.Addr, "err", err)
					}
				}
			}
		})
	}
	workers.Wait()
	return nil
}

func (m *monitor) answer(ctx context.Context, r discoveredRequest) error {
	ctx, cancel := context.WithTimeout(ctx, m.patience.answer)
	defer cancel()
	payload, err := json.Marshal(reports.AppsFor(r.Request, m.services.names()))
	if err != nil {
		return err
	}
	return bus.Deliver(ctx, bus.ForeignAt(r.endpoint.Addr, r.endpoint.TLS), bus.Message{Topic: r.Topic, Payload: payload, QoS: 1})
}
