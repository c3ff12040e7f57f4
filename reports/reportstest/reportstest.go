// Package reportstest has clusters that the tests of faces are made with.
package reportstest

import (
	"fmt"

	"rollcall/reports"
)

// Points returns one point of every type and access, with everything that a point can have.
func Points() []reports.Point {
	const getSet = reports.Get | reports.Set
	return []reports.Point{
		{Path: "output/pump", Type: reports.Bool, Access: getSet, Label: "Pump", Help: "of the well", Args: []string{"for"}, Class: "switch", Genre: reports.Basic},
		{Path: "input/door", Type: reports.Bool, Access: reports.Get, Class: "door", Label: "Front door"},
		{Path: "pwm/angle", Type: reports.Float, Access: getSet, Unit: "%", Min: reports.Ptr(0), Max: reports.Ptr(100), Step: reports.Ptr(0.5)},
		{Path: "load/1m", Type: reports.Float, Access: reports.Get, Label: "Load", Poll: 10e9, Min: reports.Ptr(0)},
		{Path: "temperature", Type: reports.Float, Access: reports.Get, Unit: "°C", Class: "temperature", Min: reports.Ptr(-40), Max: reports.Ptr(80), Poll: 10e9},
		{Path: "count", Type: reports.Int, Access: getSet, Min: reports.Ptr(0)},
		{Path: "mode", Type: reports.Enum, Access: getSet, Options: []string{"auto", "manual", "off"}, Genre: reports.Config},
		{Path: "note", Type: reports.String, Access: getSet, Help: "any text"},
		{Path: "order", Type: reports.String, Access: reports.Set, Help: "can't be read"},
		{Path: "map", Type: reports.JSON, Access: getSet},
		{Path: "press", Type: reports.Enum, Access: reports.Event, Options: []string{"short", "long"}},
	}
}

// Values returns a value for each point of Points that has one.
func Values() map[string]string {
	return map[string]string{"output/pump": "ON", "input/door": "OFF", "pwm/angle": "35.5", "load/1m": "0.25", "temperature": "21.5", "count": "12",
		"mode": "auto", "note": "hello", "map": `{"a":[1,2]}`}
}

// Host returns a host with n services of Points, of which every fourth is offline.
func Host(i, n int) reports.Host {
	h := reports.Host{ID: fmt.Sprintf("%016x", i+1), Name: fmt.Sprintf("pi%03d", i), IPAddr: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), MAC: "b8:27:eb:00:00:01",
		Model: "Raspberry Pi Zero 2 W", OS: "Debian GNU/Linux 12 (bookworm)", Arch: "arm64", Version: "1.2.3",
		Brokers: []string{"mqtt://" + fmt.Sprintf("10.0.%d.%d:1883", i/250, i%250+1)}, Status: reports.Online}
	for k := range n {
		s := reports.HostService{Service: reports.Service{Name: fmt.Sprintf("service%d", k), Function: "test", Version: "1.0", Points: Points()}, Described: true,
			Status: reports.Online, Values: Values()}
		if k%4 == 3 {
			s.Status, s.Error = reports.Offline, "read sensor: no answer"
		}
		h.Services = append(h.Services, s)
	}
	return h
}

// Cluster returns a cluster of hosts with services each, and one host that is known by the original form alone.
func Cluster(hosts, services int) reports.Cluster {
	all := []reports.Host{{Name: "old", IPAddr: "10.1.0.1", Services: []reports.HostService{{Service: reports.Service{Name: "coffee", Function: "coffee"}}}}}
	for i := range hosts {
		all = append(all, Host(i, services))
	}
	return reports.NewCluster(all)
}

// payloads returns texts that mean something in one form or another, each with the word evil, which must not be set free.
func payloads() []string {
	return []string{
		`<script>evil()</script>`, `"><img src=x onerror=evil()>`, `'-evil()-'`, `</style><script>evil()</script>`, `javascript:evil()`,
		"`evil`\n\n# evil\n", `| evil | [x](javascript:evil) ![](http://evil/x.png)`, `<!-- evil -->`, "```\nevil\n```", `]]><evil/>`,
		`"; evil [URL="javascript:evil()"]; "`, `\" -> evil; \N`, `evil\`, "$(evil) `evil` ; evil & evil\n", `'; evil; '`, "\x1b[31mevil\u202e\x00", `{{evil}} ${evil}`, `&lt;evil&gt; &amp;`, "evil\nevil{a=\"b\"} 1\n",
	}
}

// Hostile returns a cluster in which every text that may hold anything holds something that breaks documents.
func Hostile() reports.Cluster {
	var hosts []reports.Host
	for i, evil := range payloads() {
		p := reports.Point{Path: "x", Type: reports.Enum, Options: []string{evil, "b" + evil}, Access: reports.Get | reports.Set, Label: evil, Help: evil, Unit: evil, Class: evil, Genre: reports.Genre(evil), Args: []string{evil}}
		text := reports.Point{Path: "y", Type: reports.String, Access: reports.Get | reports.Set | reports.Event, Label: evil, Help: evil, Unit: evil, Class: evil}
		s := reports.HostService{Service: reports.Service{Name: "svc", Function: "f", Version: evil, Inputs: evil, Outputs: evil, Control: evil, Points: []reports.Point{p, text}},
			Described: true, Status: reports.Status(evil), Error: evil, Values: map[string]string{"x": evil, "y": evil}}
		hosts = append(hosts, reports.Host{ID: evil, Name: fmt.Sprintf("host%d", i), IPAddr: evil, ExtAddr: evil, MAC: evil, Model: evil, OS: evil, Arch: evil, Version: evil,
			Brokers: []string{evil, "mqtt://" + evil}, Status: reports.Status(evil), Services: []reports.HostService{s}})
	}
	return reports.NewCluster(hosts)
}
