package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
)

// everyone is the broadcast address of the loopback network.
const everyone = "127.255.255.255"

// follow collects the retained state of the topics /<name>.
func (b *bed) follow() func() string {
	b.t.Helper()
	got := listen(b.t, bustest.Dial(b.t, b.m.at.url), "/+")
	state := map[string]netip.Addr{}
	return func() string {
		for {
			select {
			case m := <-got:
				if len(m.Payload) == 0 {
					delete(state, m.Topic)
				} else {
					state[m.Topic] = netip.MustParseAddr(string(m.Payload))
				}
			default:
				return fmt.Sprint(state)
			}
		}
	}
}

// The map over MQTT, by what udpsrv publishes at the end of each sweep: entries come, change and go, on the clock and by sweeps.
func TestMapByLists(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	onMap := b.follow()
	sweep := 0
	list := func(doc string) {
		sweep++
		before := b.m.responder.Stats()["published"]
		ask(t, everyone, b.port, fmt.Sprintf(`{"cmd":"status","replyto":"127.0.0.1:1","topic":"/stat/data","id":%d}`, sweep))
		eventually(t, "request", true, func() bool { return b.m.responder.Stats()["published"] > before })
		b.publish("/pi1/heard", doc)
	}
	list(`[{"hostname":"pi2","ipaddr":"10.0.0.2"},{"hostname":"pi3","ipaddr":"10.0.0.3"}]`)
	eventually(t, "map", "map[/pi2:10.0.0.2 /pi3:10.0.0.3]", onMap)
	list(`[{"hostname":"pi2","ipaddr":"10.0.0.22"},{"hostname":"a/b","ipaddr":"10.0.0.3"},{"hostname":"x","ipaddr":"nowhere"},{"ipaddr":"10.0.0.3"}]`)
	eventually(t, "map", "map[/pi2:10.0.0.22 /pi3:10.0.0.3]", onMap)
	for _, bad := range []string{"", "garbage", "{}", `[{"hostname":7}]`, strings.Repeat("[", 10_000), `[{"hostname":"pi1","ipaddr":"10.66.66.66"}]`} {
		b.publish("/pi1/heard", bad) // the last one: somebody pretends to be this host
	}
	list(`[{"hostname":"pi2","ipaddr":"10.0.0.22"}]`)
	list(`[{"hostname":"pi2","ipaddr":"10.0.0.22"}]`)
	eventually(t, "map after three sweeps without pi3", "map[/pi2:10.0.0.22]", onMap)
	b.publish("/pi1/heard", `[{"hostname":"pi4","ipaddr":"10.0.0.4"}]`)
	eventually(t, "map", "map[/pi2:10.0.0.22 /pi4:10.0.0.4]", onMap)
	b.tick(hostLifetime / 2)
	b.publish("/pi1/heard", `[{"hostname":"pi4","ipaddr":"10.0.0.4"}]`)
	b.publish("/end", "")
	eventually(t, "pi4 heard again", true, func() bool {
		b.m.hosts.mu.Lock()
		defer b.m.hosts.mu.Unlock()
		return b.m.hosts.hosts["pi4"].at.Equal(b.clock.now())
	})
	b.tick(hostLifetime / 2)
	eventually(t, "map after an hour without pi2", "map[/pi4:10.0.0.4]", onMap)

	// A request to this host alone is no sweep: who was not asked is not missing.
	for range 2 * hostSweeps {
		sweep++
		ask(t, "127.0.0.1", b.port, fmt.Sprintf(`{"cmd":"status","replyto":"127.0.0.1:1","topic":"/stat/data","id":%d}`, sweep))
		b.publish("/pi1/heard", `[]`)
	}
	b.tick(time.Minute)
	b.publish("/pi1/heard", `[{"hostname":"pi5","ipaddr":"10.0.0.5"}]`)
	eventually(t, "map", "map[/pi4:10.0.0.4 /pi5:10.0.0.5]", onMap)
}

// The map by the answers to this host's own request in the original form, which the monitor follows by itself.
func TestMapByReports(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	onMap := b.follow()
	report := func(topic, host, addr string) bus.Message {
		return bus.Message{Topic: topic, QoS: 1, Payload: fmt.Appendf(nil, `{"cmd":"status","topic":%q,"function":"gpio","hostname":%q,"ipaddr":%q,"id":1}`, topic, host, addr)}
	}
	b.send(report("/stat/data", "early", "10.0.0.1")) // nobody has asked for it
	// A program of this host answers at once: the monitor has subscribed before it has published.
	client := b.dial()
	err := client.Subscribe(within(t), 1, func(m bus.Message) {
		r := fields(t, m.Payload)
		client.Send(report(r["topic"].(string), "a/b", "10.0.0.3"))
		client.Send(report(r["topic"].(string), "pi2", "10.0.0.2"))
		client.Send(report(r["topic"].(string), "pi3", fmt.Sprint("10.0.0.", r["id"])))
		client.Send(report(r["topic"].(string), "pi1", "10.66.66.66"))
		client.Send(bus.Message{Topic: r["topic"].(string), Payload: []byte("garbage"), QoS: 1})
	}, "/udp/report")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		ask(t, everyone, b.port, fmt.Sprintf(`{"cmd":"status","replyto":"%s","topic":"/stat/data","id":%d}`, b.m.at.replyTo, 10+i))
		eventually(t, "map", fmt.Sprintf("map[/pi2:10.0.0.2 /pi3:10.0.0.%d]", 10+i), onMap)
	}
	// Topics that were asked for long ago are not followed any more.
	b.tick(replyTopicLifetime)
	eventually(t, "map after an hour", "map[]", onMap)
	ask(t, everyone, b.port, fmt.Sprintf(`{"cmd":"status","replyto":"%s","topic":"/other/data","id":100}`, b.m.at.replyTo))
	eventually(t, "map", "map[/pi2:10.0.0.2 /pi3:10.0.0.100]", onMap)
	b.send(report("/stat/data", "late", "10.0.0.1"))
	b.send(report("/other/data", "pi9", "10.0.0.9"))
	eventually(t, "map", "map[/pi2:10.0.0.2 /pi3:10.0.0.100 /pi9:10.0.0.9]", onMap)
}

// A list of 5,000 hosts, in several messages and many times, is worked off without a write to the disk for each.
func TestMapOfManyHosts(t *testing.T) {
	t.Parallel()
	broker := bustest.StartStoppable(t)
	b := startBed(t, func(c *config.Config) { c.Broker = config.Broker{URL: broker.URL()} })
	const hosts, part = 5000, 500
	got := listen(t, bustest.Dial(t, broker.URL()), "/+")
	start := time.Now()
	for i := 0; i < hosts; i += part {
		var list []map[string]string
		for k := i; k < i+part; k++ {
			list = append(list, map[string]string{"hostname": fmt.Sprint("h", k), "ipaddr": netip.AddrFrom4([4]byte{10, 1, byte(k >> 8), byte(k)}).String()})
		}
		doc, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		b.publish("/pi1/heard", string(doc))
	}
	for range hosts {
		next(t, got, "host on the map")
	}
	file := filepath.Join(b.cfg.StateDir, "heard.json")
	saved := func() int {
		var m map[string]string
		doc, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(doc, &m)
		}
		if err != nil {
			return -1
		}
		return len(m)
	}
	eventually(t, "hosts in the file", hosts, saved)
	t.Logf("%d hosts are on the map and on disk after %v", hosts, time.Since(start))

	// Single answers, a thousand of them: the file is written a few times, not a thousand.
	writes, last := 0, inode(t, file)
	ask(t, everyone, b.port, `{"cmd":"status","replyto":"`+strings.TrimPrefix(broker.URL(), "tcp://")+`","topic":"/stat/x","id":1}`)
	eventually(t, "topic to be followed", true, func() bool {
		return b.m.replies.has("/stat/x", b.clock.now()) && b.m.responder.Stats()["published"] > 0
	})
	client := b.dial()
	for k := range 1000 {
		if err := client.Publish(within(t), bus.Message{Topic: "/stat/x", QoS: 1, Payload: fmt.Appendf(nil, `{"cmd":"status","topic":"/stat/x","function":"x","hostname":"r%d","ipaddr":"10.2.0.1"}`, k)}); err != nil {
			t.Fatal(err)
		}
		if now := inode(t, file); now != last {
			writes, last = writes+1, now
		}
	}
	eventually(t, "hosts in the file", true, func() bool {
		if now := inode(t, file); now != last {
			writes, last = writes+1, now
		}
		return saved() > hosts+900 // the first few may have come before the subscription
	})
	if most := 2 + int(time.Since(start)/mapEvery); writes > most {
		t.Errorf("the file was written %d times, want at most %d", writes, most)
	}
	if n := b.m.client.Missed(); n > 0 {
		t.Errorf("%d messages were missed", n)
	}
}

// inode tells one version of a file that is replaced from the next.
func inode(t *testing.T, file string) time.Time {
	t.Helper()
	s, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return s.ModTime()
}

// What could not be written is said once, tried again, and never in the way.
func TestMapThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	onMap := b.follow()
	file := filepath.Join(b.cfg.StateDir, "heard.json")
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	b.publish("/pi1/heard", `[{"hostname":"pi2","ipaddr":"10.0.0.2"}]`)
	eventually(t, "map", "map[/pi2:10.0.0.2]", onMap)
	eventually(t, "lines about the map", 1, func() int { return len(b.log.having("map of hosts not saved")) })
	remove(t, file)
	b.tick(time.Minute)
	eventually(t, "file", `{"pi2":"10.0.0.2"}`, func() string { doc, _ := os.ReadFile(file); return string(doc) })
}
