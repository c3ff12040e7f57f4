package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxRuleset bounds what is read of a packet filter, in bytes.
const maxRuleset = 16 << 20

// nftThing is an element of what `nft -j list ruleset` prints (libnftables-json(5)).
type nftThing struct {
	Chain *struct{ Family, Table, Name, Type, Hook, Policy string }
	Set   *struct {
		Family, Table, Name string
		Elem                []json.RawMessage
	}
	Rule *struct {
		Family, Table, Chain string
		Handle               int
		Expr                 []map[string]json.RawMessage
	}
}

// parseNft reads the output of `nft -j list ruleset`: the chains that an IPv4 datagram may pass.
func parseNft(doc []byte) (*firewall, error) {
	if len(doc) > maxRuleset {
		return nil, fmt.Errorf("rules of nft have more than %d bytes", maxRuleset)
	}
	var all struct{ Nftables []nftThing }
	if err := json.Unmarshal(doc, &all); err != nil {
		return nil, fmt.Errorf("read rules of nft: %w", err)
	}
	f, sets := &firewall{}, map[string][]string{}
	concerns := func(family string) bool { return family == "ip" || family == "inet" }
	for _, t := range all.Nftables {
		switch {
		case t.Chain != nil && concerns(t.Chain.Family):
			c := &fwChain{program: "nft", table: t.Chain.Family + " " + t.Chain.Table, name: t.Chain.Name, policy: t.Chain.Policy}
			if t.Chain.Type == "filter" {
				c.hook = t.Chain.Hook
			}
			f.chains = append(f.chains, c)
			switch {
			case t.Chain.Table == "firewalld":
				f.wards = "firewalld"
			case strings.HasPrefix(t.Chain.Name, "ufw-"):
				f.wards = "ufw"
			}
		case t.Set != nil && concerns(t.Set.Family):
			var values []string
			for _, e := range t.Set.Elem {
				values = append(values, nftValues(e, nil)...)
			}
			sets[t.Set.Family+" "+t.Set.Table+" @"+t.Set.Name] = values
		}
	}
	for _, t := range all.Nftables {
		if t.Rule != nil && concerns(t.Rule.Family) {
			f.addNft(t, sets)
		}
	}
	return f, nil
}

// addNft adds a rule to its chain.
func (f *firewall) addNft(t nftThing, sets map[string][]string) {
	table := t.Rule.Family + " " + t.Rule.Table
	c := f.find(&fwChain{program: "nft", table: table}, t.Rule.Chain)
	if c == nil {
		return
	}
	text := fmt.Sprintf("rule with handle %d", t.Rule.Handle)
	if !c.based() {
		text += " in " + t.Rule.Chain
	}
	named := func(set string) []string { return sets[table+" "+set] }
	c.rules = append(c.rules, nftRule(t.Rule.Expr, text, named)...)
}

// nftRule returns a rule; one with a map of verdicts is several.
func nftRule(exprs []map[string]json.RawMessage, text string, sets func(string) []string) (out []fwRule) {
	r := fwRule{text: text}
	for _, e := range exprs {
		for word, body := range e {
			switch word {
			case "counter", "log", "comment", "notrack", "mangle":
			case "accept", "drop", "reject", "return":
				r.verdict = word
			case "jump", "goto":
				var to struct{ Target string }
				_ = json.Unmarshal(body, &to) // one without a target leads nowhere
				r.verdict, r.target = word, to.Target
			case "match":
				r.conds = append(r.conds, nftMatch(body, sets))
			case "vmap":
				out = append(out, nftMap(body, r)...)
			default:
				r.conds = append(r.conds, fwCond{})
			}
		}
	}
	return append(out, r)
}

// nftMatch returns the condition of a match.
func nftMatch(body json.RawMessage, sets func(string) []string) fwCond {
	var m struct {
		Op    string
		Left  json.RawMessage
		Right json.RawMessage
	}
	if json.Unmarshal(body, &m) != nil {
		return fwCond{}
	}
	c := fwCond{key: nftKey(m.Left), values: nftValues(m.Right, sets), not: m.Op == "!="}
	if m.Op != "==" && m.Op != "!=" && m.Op != "in" || c.values == nil {
		return fwCond{}
	}
	return c
}

// nftMap returns the rules that a map of verdicts stands for.
func nftMap(body json.RawMessage, r fwRule) (out []fwRule) {
	var m struct {
		Key  json.RawMessage
		Data struct{ Set [][2]json.RawMessage }
	}
	if json.Unmarshal(body, &m) != nil || len(m.Data.Set) == 0 {
		return nil
	}
	for _, pair := range m.Data.Set {
		var verdict map[string]json.RawMessage
		if json.Unmarshal(pair[1], &verdict) != nil {
			continue
		}
		one := nftRule([]map[string]json.RawMessage{verdict}, r.text, nil)[0]
		one.conds = append(slices.Clone(r.conds), fwCond{key: nftKey(m.Key), values: nftValues(pair[0], nil)})
		out = append(out, one)
	}
	return out
}

// nftKey returns the property that an expression is about, "" if it is none of those that are known here.
func nftKey(left json.RawMessage) string {
	var l struct {
		Payload struct{ Protocol, Field string }
		Meta    struct{ Key string }
		CT      struct{ Key string }
	}
	if json.Unmarshal(left, &l) != nil {
		return ""
	}
	switch {
	case l.Payload.Field != "":
		return l.Payload.Protocol + " " + l.Payload.Field
	case l.CT.Key != "":
		return "ct " + l.CT.Key
	}
	return l.Meta.Key
}

// nftValues returns the values of an expression, nil if it has none that are known here.
func nftValues(raw json.RawMessage, sets func(string) []string) []string {
	var list []json.RawMessage
	var v struct {
		Set    json.RawMessage
		Elem   struct{ Val json.RawMessage }
		Range  []json.RawMessage
		Prefix *struct {
			Addr string
			Len  int
		}
	}
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0:
		return nil
	case raw[0] == '[' && json.Unmarshal(raw, &list) == nil:
		out := []string{}
		for _, one := range list {
			values := nftValues(one, sets)
			if values == nil {
				return nil
			}
			out = append(out, values...)
		}
		return out
	case raw[0] == '{' && json.Unmarshal(raw, &v) != nil:
		return nil
	case raw[0] != '{':
		s := strings.Trim(string(raw), `"`)
		if strings.HasPrefix(s, "@") {
			if sets == nil {
				return nil
			}
			return sets(s)
		}
		return []string{s}
	case v.Set != nil:
		return nftValues(v.Set, sets)
	case v.Elem.Val != nil:
		return nftValues(v.Elem.Val, sets)
	case len(v.Range) == 2:
		return []string{strings.Trim(string(v.Range[0]), `"`) + "-" + strings.Trim(string(v.Range[1]), `"`)}
	case v.Prefix != nil:
		return []string{fmt.Sprintf("%s/%d", v.Prefix.Addr, v.Prefix.Len)}
	}
	return nil
}

// iptablesKeys are the conditions of iptables-save(8) that are known here.
var iptablesKeys = map[string]string{"-p": "l4proto", "--dport": "udp dport", "--sport": "udp sport", "--dports": "udp dport", "--sports": "udp sport",
	"-i": "iifname", "-o": "oifname", "-s": "ip saddr", "-d": "ip daddr", "--ctstate": "ct state", "--state": "ct state"}

// parseIptables reads the output of iptables-save(8): the chains of the table filter.
func parseIptables(text string) *firewall {
	f, table := &firewall{}, ""
	find := func(name string) *fwChain {
		return f.find(&fwChain{program: "iptables", table: "ip filter"}, name)
	}
	for line := range strings.Lines(text[:min(len(text), maxRuleset)]) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0][0] == '*':
			table = words[0]
		case table != "*filter":
		case words[0][0] == ':' && len(words) > 1:
			c := &fwChain{program: "iptables", table: "ip filter", name: words[0][1:], policy: strings.ToLower(words[1])}
			if words[1] != "-" {
				c.hook = strings.ToLower(c.name)
			}
			if strings.HasPrefix(c.name, "ufw-") {
				f.wards = "ufw"
			}
			f.chains = append(f.chains, c)
		case words[0] == "-A" && len(words) > 2:
			if c := find(words[1]); c != nil {
				c.rules = append(c.rules, iptablesRule(words[2:], strings.TrimSpace(line)))
			}
		}
	}
	return f
}

// iptablesRule returns the rule of a line of iptables-save.
func iptablesRule(words []string, text string) fwRule {
	r, not := fwRule{text: "rule " + text}, false
	for i := 0; i < len(words); i++ {
		word, value := words[i], ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		key, known := iptablesKeys[word]
		switch {
		case word == "!":
			not = true
			continue
		case word == "-j" || word == "-g":
			r.verdict, r.target = iptablesTarget(word, value)
			i++
		case word == "-m" || word == "--comment" || word == "--reject-with":
			i++
		case known:
			values := strings.Split(strings.ReplaceAll(strings.ToLower(value), ":", "-"), ",")
			if key == "iifname" || key == "oifname" {
				values = []string{strings.ReplaceAll(value, "+", "*")}
			}
			r.conds = append(r.conds, fwCond{key: key, values: values, not: not})
			i++
		case strings.HasPrefix(word, "-"):
			r.conds = append(r.conds, fwCond{})
		}
		not = false
	}
	return r
}

// iptablesTarget returns the verdict of a target.
func iptablesTarget(word, target string) (verdict, to string) {
	switch target {
	case "ACCEPT", "DROP", "REJECT", "RETURN":
		return strings.ToLower(target), ""
	case "LOG", "NFLOG", "MARK", "CONNMARK", "TRACE", "AUDIT":
		return "", ""
	}
	if word == "-g" {
		return "goto", target
	}
	return "jump", target
}
