// Package janitootest serves tests of what speaks Janitoo: a strict checker of all that Janitoo's own clients read, and what its real
// servers have sent.
package janitootest

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"rollcall/reports/janitoo/wire"
)

// Check returns what is wrong with a message that a host of ours has published, as Janitoo's own programs would meet it: jnt_query dies
// of it, the network map leaves it out, or its type is not the one that the real servers send (JANITOO.md §0, §1.4–§1.7).
func Check(topic string, payload []byte) error {
	segs := strings.Split(strings.TrimPrefix(topic, "/"), "/")
	switch {
	case !strings.HasPrefix(topic, "/"):
		return fmt.Errorf("topic %q begins without a slash", topic)
	case strings.HasPrefix(topic, wire.HeartbeatAll):
		return checkHeartbeat(topic, payload)
	case ascii(payload) != nil:
		return ascii(payload)
	case strings.HasPrefix(topic, "/broadcast/reply/") && len(segs) >= 3:
		return checkDiscovery(payload)
	case segs[0] == "nodes" && segs[len(segs)-1] == "reply":
		return checkReply(payload)
	case segs[0] == "values":
		return checkValue(topic, payload)
	}
	return fmt.Errorf("topic %q is none that a host answers on", topic)
}

// ascii holds to Janitoo's own output.
func ascii(b []byte) error {
	for i, c := range b {
		if c >= 0x80 || c < ' ' {
			return fmt.Errorf("byte %#x at %d: Janitoo writes ASCII", c, i)
		}
	}
	return nil
}

func checkHeartbeat(topic string, payload []byte) error {
	h, err := wire.ParseHeartbeat(topic, payload)
	if err != nil {
		return err
	}
	if json.Valid(payload) != (topic == wire.HeartbeatAll) {
		return fmt.Errorf("%q on %s: JSON is for %s alone", payload, topic, wire.HeartbeatAll)
	}
	if h.State.Rank() < 0 {
		return fmt.Errorf("state %q is none of Janitoo's", h.State)
	}
	return nil
}

// row is an object of JSON.
type row = map[string]any

func object(b []byte) (row, error) {
	var out row
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("jnt_query dies: ValueError: %w", err)
	}
	return out, nil
}

// checkReply checks what comes on /nodes/<reply>/reply: a discovery reply, or the answer to a get or set.
func checkReply(payload []byte) error {
	r, err := object(payload)
	if err != nil {
		return err
	}
	if class, ok := r["cmd_class"].(float64); ok && int(class) == wire.CmdDiscovery {
		return checkDiscovery(payload)
	}
	return checkQueryRow(r)
}

func checkDiscovery(payload []byte) error {
	r, err := object(payload)
	if err != nil {
		return err
	}
	uuid, _ := r["uuid"].(string)
	genre, ok := wire.InfoGenre(uuid)
	data, isObject := r["data"].(row)
	switch {
	case !ok:
		return fmt.Errorf("uuid %v is no discovery request", r["uuid"])
	case !isObject:
		return fmt.Errorf("data of %s is no object", uuid)
	case genre == 0:
		return checkNodes(data)
	}
	for hadd, values := range data {
		if !wire.Hadd(hadd).Valid() {
			return fmt.Errorf("%q is no address", hadd)
		}
		if err := checkValues(uuid, genre, hadd, values); err != nil {
			return err
		}
	}
	return nil
}

func checkNodes(data row) error {
	if _, one := data["hadd"].(string); one {
		return checkNode(data)
	}
	for uuid, n := range data {
		node, ok := n.(row)
		if !ok || node["uuid"] != uuid {
			return fmt.Errorf("node %q has uuid %v", uuid, node["uuid"])
		}
		if err := checkNode(node); err != nil {
			return fmt.Errorf("node %q: %w", uuid, err)
		}
	}
	return nil
}

// kinds of the values of keys, as §1.4 and §1.5 have them.
const (
	aText = 1 << iota
	aNull
	aNumber
	aBool
	aList // of strings or numbers
	aWord = aText | aNull
	any1  = aText | aNull | aNumber | aBool
)

func kindOf(v any) int {
	switch v := v.(type) {
	case nil:
		return aNull
	case string:
		return aText
	case float64:
		return aNumber
	case bool:
		return aBool
	case []any:
		if !slices.ContainsFunc(v, func(e any) bool { return kindOf(e)&(aText|aNumber) == 0 }) {
			return aList
		}
	}
	return 0
}

func keys(r row, want map[string]int) error {
	for k, kinds := range want {
		v, has := r[k]
		if !has {
			return fmt.Errorf("jnt_query dies: KeyError: %q", k)
		}
		if kindOf(v)&kinds == 0 {
			return fmt.Errorf("%q is %v, which is of another type than Janitoo's", k, v)
		}
	}
	return nil
}

func checkNode(n row) error {
	err := keys(n, map[string]int{"hadd": aText, "uuid": aText, "name": aWord, "location": aWord, "product_name": aText, "product_type": aText,
		"product_manufacturer": aText, "oid": aText, "capabilities": aList, "cmd_classes": aList, "heartbeat": aNumber, "config_timeout": aNumber, "state": aText})
	if err != nil {
		return err
	}
	if h, _ := n["hadd"].(string); !wire.Hadd(h).Valid() {
		return fmt.Errorf("hadd %q", h)
	}
	if s, _ := n["state"].(string); wire.State(s).Rank() < 0 {
		return fmt.Errorf("state %q", s)
	}
	return nil
}

func checkValues(uuid string, genre wire.Genre, hadd string, v any) error {
	values, ok := v.(row)
	if !ok || len(values) == 0 {
		return fmt.Errorf("%s of %s: only nodes that have a value stand there", uuid, hadd)
	}
	for name, x := range values {
		instances, ok := x.(row)
		if genre == wire.System || genre == wire.Command {
			instances = row{"0": x}
		}
		if !ok || len(instances) == 0 {
			return fmt.Errorf("%s of %s: value %q is no object", uuid, hadd, name)
		}
		for index, i := range instances {
			v, ok := i.(row)
			if !ok {
				return fmt.Errorf("%s: instance %s of value %q of %s is no object", uuid, index, name, hadd)
			}
			if err := checkWhole(v); err != nil {
				return fmt.Errorf("%s of %s: value %q: %w", uuid, hadd, name, err)
			}
			if v["hadd"] != hadd || v["uuid"] != name || fmt.Sprint(v["index"]) != index || v["genre"] != float64(genre) || v["reply_hadd"] != nil {
				return fmt.Errorf("%s: instance %s of value %q of %s says it is %v of %v, index %v, genre %v", uuid, index, name, hadd, v["uuid"], v["hadd"], v["index"],
					v["genre"])
			}
		}
	}
	return nil
}

// checkWhole checks a value with all its keys.
func checkWhole(v row) error {
	return keys(v, map[string]int{"uuid": aText, "node_uuid": aText, "hadd": aText, "index": aNumber, "label": aWord, "help": aWord, "data": any1, "units": aWord,
		"type": aNumber, "genre": aNumber, "cmd_class": aNumber, "default": any1, "min": aNumber | aNull, "max": aNumber | aNull, "list_items": aList | aNull,
		"is_readonly": aBool, "is_writeonly": aBool, "is_polled": aBool, "poll_delay": aNumber, "voice_uuid": aWord, "reply_hadd": aWord})
}

// checkQueryRow checks what `jnt_query query` prints.
func checkQueryRow(v row) error {
	if err := keys(v, map[string]int{"hadd": aText, "uuid": aText, "data": any1, "genre": aNumber, "cmd_class": aNumber, "help": aWord}); err != nil {
		return err
	}
	for k, kinds := range map[string]int{"index": aNumber, "type": aNumber, "units": aWord, "list_items": aList | aNull} {
		if x, has := v[k]; has && kindOf(x)&kinds == 0 {
			return fmt.Errorf("%q is %v, which is of another type than Janitoo's", k, x)
		}
	}
	return nil
}

// checkValue checks what stands on the topic of a value: a poll, or the answer to a get or set.
func checkValue(topic string, payload []byte) error {
	genre, hadd, uuid, ok := wire.ParseValueTopic(topic)
	r, err := object(payload)
	if err != nil || !ok {
		return fmt.Errorf("topic %q: %w", topic, err)
	}
	rows := row{"": r}
	if _, flat := r["uuid"].(string); !flat {
		rows = r
	}
	for index, x := range rows {
		v, ok := x.(row)
		if !ok {
			return fmt.Errorf("%s: instance %q is no object", topic, index)
		}
		_, typed := v["type"]
		answer := index == "" && (v["reply_hadd"] != nil || !typed)
		check := checkWhole
		if answer {
			check = checkQueryRow
		}
		if err := check(v); err != nil {
			return fmt.Errorf("%s: %w", topic, err)
		}
		if v["hadd"] != string(hadd) || v["uuid"] != uuid || index != "" && fmt.Sprint(v["index"]) != index || answer && (v["is_writeonly"] != false || v["is_readonly"] != true) {
			return fmt.Errorf("%s: instance %q says it is %v of %v, index %v", topic, index, v["uuid"], v["hadd"], v["index"])
		}
		if answer && v["genre"] != float64(genre) {
			return fmt.Errorf("%s: genre %v", topic, v["genre"])
		}
	}
	return nil
}

//go:embed testdata
var captures embed.FS

// Capture returns what a real server has sent, as replies/broadcast_0121_request_info_nodes.json; it panics where there is no such file.
func Capture(name string) []byte {
	b, err := captures.ReadFile(path.Join("testdata", name))
	if err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b, []byte("\n"))
}

// Captures returns the names of all that match a pattern of path.Match, as replies/*.json, in order.
func Captures(pattern string) []string {
	all, err := fs.Glob(captures, path.Join("testdata", pattern))
	if err != nil {
		panic(err)
	}
	for i, name := range all {
		all[i] = strings.TrimPrefix(name, "testdata/")
	}
	return all
}

// Message is a message of a capture.
type Message struct {
	Topic   string
	Payload []byte
}

// Wire returns the messages of a capture of traffic, as wire/query_location_set.wire.txt, in order.
func Wire(name string) (out []Message) {
	for line := range strings.Lines(string(Capture(name))) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 5)
		if len(fields) == 5 && strings.HasPrefix(fields[3], "/") {
			out = append(out, Message{Topic: fields[3], Payload: []byte(fields[4])})
		}
	}
	return out
}
