// Package asyncapi is the face that is AsyncAPI 3.0: the brokers of a cluster as servers, every topic as a channel, and who says
// what there. The application that the document describes is the cluster: it sends states and receives commands.
//
// Payloads are schemas that mean the same in JSON Schema 2020-12, which $schema names, and in the dialect of AsyncAPI 3.0
// (draft 07 and more), which every tool reads. An example is the last value of its point, where values were asked for.
package asyncapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"rollcall/reports"
)

// Face returns this face.
func Face() reports.Face {
	return reports.Face{Name: "asyncapi", Doc: "AsyncAPI 3.0: brokers, channels, operations, messages", File: "asyncapi.json", Write: write}
}

type object = reports.Object

// document is the whole, its keys in the order in which people read it.
type document struct {
	AsyncAPI    string `json:"asyncapi"`
	Info        object `json:"info"`
	ContentType string `json:"defaultContentType"`
	Servers     object `json:"servers"`
	Channels    object `json:"channels"`
	Operations  object `json:"operations"`
	Components  object `json:"components"`

	known map[string][]shared // points by the name of their schema, which those of the same kind share
}

// unversioned stands in place of info.version until the rest is written. The version is made of it: another document has another.
const unversioned = "000000000000"

func write(c reports.Cluster) ([]byte, error) {
	d := &document{AsyncAPI: "3.0.0", ContentType: reports.MediaText, Servers: object{}, Channels: object{}, Operations: object{}, Components: components(),
		known: map[string][]shared{}}
	services := 0
	for _, h := range c.Hosts {
		servers := d.host(h)
		for _, s := range h.Services {
			d.service(h, s, servers)
			services++
		}
	}
	d.Info = object{
		"title":       "Cluster of " + count(len(c.Hosts), "host") + " with " + count(services, "service"),
		"version":     unversioned,
		"description": "Written by `udpsrv docs` from what the services say of themselves. Every command is answered once, on the service's result topic and on `reply`.",
	}
	b, err := reports.MarshalDocument(d)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return bytes.Replace(b, []byte(unversioned), []byte(hex.EncodeToString(sum[:len(unversioned)/2])), 1), nil
}

func count(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return strconv.Itoa(n) + " " + word
}

// host adds the brokers of a host as servers, and its own status. It returns references to the servers.
func (d *document) host(h reports.Host) (servers []object) {
	about := []string{reports.OneLine(h.Model), reports.OneLine(h.OS), reports.OneLine(h.Arch)}
	text := strings.Join(about, ", ")
	add := func(key string, server object) {
		if t := strings.Trim(text, ", "); t != "" {
			server["summary"] = t
		}
		server["title"] = h.Key
		d.Servers[key] = server
		servers = append(servers, ref("servers", key))
	}
	for i, e := range h.Endpoints() {
		server := object{"host": e.String(), "protocol": "mqtt", "protocolVersion": "3.1.1"}
		if e.TLS {
			server["protocol"] = "secure-mqtt"
			server["security"] = []object{{"$ref": "#/components/securitySchemes/operator"}}
		}
		key := h.Key
		if i > 0 {
			key += "-broker" + strconv.Itoa(i+1)
		}
		add(key, server)
	}
	if len(servers) == 0 {
		add(h.Key, object{"host": h.Name + ":1883", "protocol": "mqtt", "protocolVersion": "3.1.1",
			"description": "The host's broker could not be reached from where it was asked: it may listen on loopback only."})
	}
	if h.ID != "" {
		d.channel(h.Key+".status", object{"address": reports.HostStatus(h.Name), "servers": servers, "messages": messages("status")}, "send", retained)
	}
	return servers
}

// Bindings of operations: states are kept by the broker, results and commands are not, and nobody waits for samples of a log.
const (
	retained = iota
	live
	fast
)

// channel adds a channel and the one operation on it.
func (d *document) channel(key string, channel object, action string, binding int) string {
	first := key
	for n := 2; d.Channels[key] != nil; n++ {
		key = first + "-" + strconv.Itoa(n)
	}
	d.Channels[key] = channel
	d.Operations[key] = object{"action": action, "channel": ref("channels", key), "bindings": mqtt(binding)}
	return key
}

func mqtt(binding int) object {
	level := 1
	if binding == fast {
		level = 0
	}
	return object{"mqtt": object{"qos": level, "retain": binding == retained, "bindingVersion": "0.2.0"}}
}

func ref(section, key string) object { return object{"$ref": "#/" + section + "/" + key} }

// messages refers to messages of the components by their names.
func messages(names ...string) object {
	out := object{}
	for _, n := range names {
		out[n] = object{"$ref": "#/components/messages/" + n}
	}
	return out
}
