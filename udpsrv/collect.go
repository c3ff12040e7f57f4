package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"rollcall/internal/broker"
	"rollcall/internal/bus"
	tasks "rollcall/internal/run"
	"rollcall/reports"
)

// Times of the collector.
const (
	connectWait = 3 * time.Second // to reach a broker and have the subscription confirmed
	backlog     = 4096            // answers that wait for the printer
)

// collector receives answers in the original form: services publish them to one topic of a broker that the request names.
type collector struct {
	topic   string
	reports chan reports.Report
	replyTo func(local netip.Addr) string
	port    uint16 // of the broker, when it is on this machine; 0 when it is not

	id      atomic.Pointer[reports.ID] // of the request that is being collected for
	wrong   atomic.Int64               // messages that are no answer to it
	dropped atomic.Int64               // answers that came faster than they were taken

	close func() error // ends it and waits for its parts
}

// openCollector subscribes to the topic at the broker that --broker names, or at one of its own, opened for the time being.
// The caller closes it.
func openCollector(ctx context.Context, a *app, topic string) (*collector, error) {
	c := &collector{topic: topic, reports: make(chan reports.Report, backlog)}
	at, beside := a.named, []tasks.Task(nil)
	if at == nil {
		b, secret, err := openBroker(a, topic)
		if err != nil {
			return nil, err
		}
		port := b.Addrs()[0].(*net.TCPAddr).Port
		at = &brokerURL{Host: "127.0.0.1", Port: uint16(port), User: secret}
		beside = []tasks.Task{{Name: "broker", Run: b.Run}}
	}
	c.useNamed(ctx, *at)
	client, stop, err := connect(ctx, at.config(a), connectWait, beside...)
	if err != nil {
		return nil, fmt.Errorf("collect answers: %w", err)
	}
	c.close = stop
	wait, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	if err := client.Subscribe(wait, 1, c.receive, topic); err != nil {
		return nil, errors.Join(fmt.Errorf("collect answers at %s: %w", at, err), stop())
	}
	return c, nil
}

// useNamed sets what the request says of the broker. One on this machine is named by the address that the request leaves
// from, because a host connects only to where a request came from.
func (c *collector) useNamed(ctx context.Context, b brokerURL) {
	c.replyTo = func(netip.Addr) string { return b.replyTo(b.Host) }
	if b.ours(ctx) {
		c.port = b.Port
		c.replyTo = func(local netip.Addr) string { return b.replyTo(local.Unmap().String()) }
	}
}

// openBroker opens a broker for the time of a sweep, on the port that programs of the original form expect if it is free.
// Anyone may publish to the one topic; only the client that knows the secret, as its user name, may read it.
func openBroker(a *app, topic string) (b *broker.Broker, secret string, err error) {
	secret = rand.Text()
	conf := broker.Config{Log: a.log(), Allow: func(who broker.Peer, t string, write bool) bool {
		return t == topic && (write || who.Loopback() && who.Username == secret)
	}}
	for _, port := range []int{portMQTT, 0} {
		conf.Listen = []string{net.JoinHostPort("0.0.0.0", strconv.Itoa(port))}
		if b, err = broker.New(conf); err == nil {
			return b, secret, nil
		}
	}
	return nil, "", fmt.Errorf("open a broker for the answers: %w", err)
}

// collect sets the id that answers must have from now on.
func (c *collector) collect(id uint64) {
	token := reports.ID(strconv.FormatUint(id, 10))
	c.id.Store(&token)
}

// receive checks a message and hands it over; it never blocks.
func (c *collector) receive(m bus.Message) {
	rep, err := reports.ParseReport(m.Payload)
	if id := c.id.Load(); err != nil || id == nil || rep.ID != *id {
		c.wrong.Add(1)
		return
	}
	select {
	case c.reports <- rep:
	default:
		c.dropped.Add(1)
	}
}
