package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/internal/discover"
)

// What a sweep tells follows the retained descriptions and statuses, in both shapes of the topics.
func TestServicesInSweep(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	b.services()
	b.retain("/pi1/gpio/description", description("gpio", 3))
	b.services("gpio f-gpio  3")
	b.retain("/pi1/gpio/status", "online")
	b.retain("pi1/ain/status", "offline") // before its description
	b.retain("pi1/ain/description", description("ain", 0))
	b.services("ain f-ain offline 0", "gpio f-gpio online 3")
	before := b.sweep().Services[1].Digest
	b.retain("/pi1/gpio/status", "offline")
	b.retain("/pi1/gpio/description", description("gpio", 4))
	b.services("ain f-ain offline 0", "gpio f-gpio offline 4")
	if after := b.sweep().Services[1].Digest; after == before || after == (discover.Service{}).Digest {
		t.Errorf("digest of another description is %x, of the first %x", after, before)
	}
	b.retain("/pi1/gpio/status", "on fire")
	b.retain("/pi1/ain/status", "")
	b.services("ain f-ain  0", "gpio f-gpio  4")
	b.retain("/pi1/gpio/status", "online")
	b.retain("/pi1/gpio/description", "")
	b.services("ain f-ain  0")
	b.retain("/pi1/gpio/description", description("gpio", 1)) // its status is still there
	b.services("ain f-ain  0", "gpio f-gpio online 1")

	b.retain("/pi1/ain/description", strings.Replace(description("ain", 0), `"function"`, `"simulated":true,"function"`, 1))
	b.services("ain f-ain  0 simulated", "gpio f-gpio online 1")
	b.retain("/pi1/ain/description", description("ain", 0))
	b.services("ain f-ain  0", "gpio f-gpio online 1")

	h := b.sweep()
	if h.Hostname != "pi1" || h.ID != b.m.id || !h.Open || !h.LoopbackOnly || h.Version != version || h.ExtAddr != "" ||
		len(h.Brokers) != 1 || h.Brokers[0] != b.m.at.url || time.Since(h.Started) > time.Minute {
		t.Errorf("host says %+v", h)
	}
}

// Descriptions that are wrong change nothing, and statuses, commands and points under such names are no services.
func TestHostileDescriptions(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	good := description("gpio", 2)
	b.retain("/pi1/gpio/description", good)
	b.retain("/pi1/gpio/status", "online")
	for name, d := range map[string]string{
		"another's name": description("ain", 2),
		"not JSON":       "gpio",
		"cut off":        good[:len(good)/2],
		"null":           "null",
		"a list":         "[" + good + "]",
		"wrong types":    `{"name":"gpio","function":7}`,
		"no function":    `{"name":"gpio","points":[]}`,
		"bad function":   `{"name":"gpio","function":"a b","points":[]}`,
		"bad point":      `{"name":"gpio","function":"x","points":[{"path":"set/x","type":"bool"}]}`,
		"point twice":    `{"name":"gpio","function":"x","points":[{"path":"a","type":"bool"},{"path":"a","type":"bool"}]}`,
		"deep":           strings.Repeat(`{"name":`, 10_000),
		"not UTF-8":      "{\"name\":\"gpio\",\"function\":\"\xff\"}",
		"long":           `{"name":"gpio","function":"x","label":"` + strings.Repeat("x", 100_000) + `", "points":[{}]}`,
	} {
		b.retain("/pi1/gpio/description", d)
		b.retain("/pi1/end/description", description("end", len(name)))
		b.services(fmt.Sprintf("end f-end  %d", len(name)), "gpio f-gpio online 2")
	}
	for _, topic := range []string{"/pi1/a b/description", "/pi1//description", "/pi1/" + strings.Repeat("x", 65) + "/description",
		"/pi1/set/description", "/pi1/get/status", "/pi2/gpio/description", "/pi1/gpio/x/description", "/pi1/description", "/x/pi1/y/description"} {
		name := strings.Split(topic, "/")[2]
		b.retain(topic, description(name, 1))
	}
	b.retain("/pi1/end/description", "")
	b.services("gpio f-gpio online 2")
}

// A description of 10,000 points is beyond the embedded broker's packets, but not beyond every broker's; of 1 MB and more
// nothing is read.
func TestLongDescriptions(t *testing.T) {
	t.Parallel()
	s := newServices()
	if err := s.described("gpio", []byte(description("gpio", 10_000)), time.Now()); err != nil {
		t.Error(err)
	}
	long := strings.TrimSuffix(description("gpio", 1), "}") + `,"x":"` + strings.Repeat("x", maxDescription) + `"}`
	if err := s.described("gpio", []byte(long), time.Now()); err == nil {
		t.Error("a description of more than 1 MB is taken")
	}
	if got := fmt.Sprint(said(s.listed())); got != "[gpio f-gpio  10000]" {
		t.Errorf("services are %s", got)
	}
}

// Whoever writes a program is told why its description is not taken, once for each mistake.
func TestWrongDescriptionsAreTold(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	for range 2 {
		b.retain("/pi1/roof/description", strings.Replace(description("roof", 1), `"f-roof"`, `"roof weather"`, 1))
	}
	b.retain("/pi1/door/description", description("gate", 1))
	b.retain("/pi1/lamp/description", "{")
	for service, want := range map[string]string{"roof": "roof weather", "door": "gate", "lamp": "JSON"} {
		eventually(t, "lines about "+service, 1, func() int { return len(b.log.having("level=WARN", "is not valid", "service="+service, want)) })
	}
}

// A program that knows only the original form is listed once it answers, and for ten minutes after its last answer.
func TestOriginalServices(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	report := func(host, function, outputs string) {
		b.publish("/pi1/report", fmt.Sprintf(`{"cmd":"status","topic":"/pi1/report","function":%q,"inputs":"/x/set","outputs":%q,"control":"/x","hostname":%q}`,
			function, outputs, host))
	}
	report("pi1", "weather", "/pi1/roof")
	report("pi2", "stranger", "/pi2/stranger")
	report("pi1", "", "/pi1/none")
	report("pi1", "no name", "/pi1/none")
	b.publish("/pi1/report", "garbage")
	b.retain("/pi1/ghost/description", description("ghost", 1))
	b.services("ghost f-ghost  1", "roof weather  0")
	b.retain("/pi1/ghost/description", "")

	b.tick(foreignLifetime)
	report("pi1", "late", "/pi1/late")
	b.services("late late  0", "roof weather  0")
	b.tick(time.Second)
	b.services("late late  0")

	// One that has a description is what that says.
	b.retain("/pi1/late/description", description("late", 5))
	report("pi1", "other", "/pi1/late")
	b.retain("/pi1/late/status", "online")
	b.tick(2 * foreignLifetime)
	b.services("late f-late online 5")
}

// The number of services is bounded, and as many as there may be all arrive.
func TestManyServices(t *testing.T) {
	t.Parallel()
	b := startBed(t, nil)
	long := strings.Repeat("x", 60)
	for i := range 300 {
		name := fmt.Sprintf("%s%03d", long, i)
		if i == 10 {
			b.retain("/pi1/"+name+"/status", "online")
		}
		b.retain("/pi1/"+name+"/description", strings.Replace(description(name, 1), "f-"+name, long, 1))
	}
	eventually(t, "services", maxServices, func() int { return len(b.sweep().Services) })
	got := b.sweep().Services
	for i, s := range got {
		if s.Name != fmt.Sprintf("%s%03d", long, i) || s.Points != 1 || s.Function != long {
			t.Fatalf("service %d is %+v", i, s)
		}
	}
	b.tick(time.Minute)
	eventually(t, "lines about too many services", 1, func() int { return len(b.log.having("left out", "max=256")) })
	b.retain("/pi1/"+long+"000/description", "")
	b.retain("/pi1/last/description", description("last", 1)) // in the place that is free now
	eventually(t, "first service", "last", func() string { return b.sweep().Services[0].Name })
	for i := range 2 * maxNames {
		b.m.services.status(fmt.Sprint("n", i), []byte("online"), b.clock.now())
	}
	if n := len(b.m.services.list); n > maxNames {
		t.Errorf("%d names are known, at most %d are allowed", n, maxNames)
	}
}

// After the broker was away, what does not come back is gone, for the broker may have forgotten it.
func TestServicesThatDoNotComeBack(t *testing.T) {
	t.Parallel()
	s, c := newServices(), newClock()
	say := func(name string) {
		if err := s.described(name, []byte(description(name, 1)), c.now()); err != nil {
			t.Error(err)
		}
		s.status(name, []byte("online"), c.now())
	}
	expire := func(want ...string) {
		t.Helper()
		s.expire(c.now())
		if got := s.names(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("services are %v, want %v", got, want)
		}
	}
	s.connected(c.now())
	say("a")
	say("b")
	c.pass(24 * time.Hour)
	expire("a", "b")
	s.disconnected(c.now())
	c.pass(24 * time.Hour)
	s.disconnected(c.now()) // each attempt that fails
	expire("a", "b")        // what else could be said of them
	s.connected(c.now())
	c.pass(time.Second)
	say("a")
	c.pass(absence - 2*time.Second)
	expire("a", "b")
	c.pass(time.Second)
	expire("a")
	c.pass(time.Hour)
	expire("a")
}
