package janitoo

import (
	"encoding/json"
	"fmt"

	"rollcall/reports"
)

// memory is what is kept over restarts: the numbers of nodes, and all that was set.
type memory struct {
	Numbers map[string]int  `json:"numbers"` // of nodes, by key: a node that was there once keeps its address
	Set     map[string]kept `json:"set"`     // by node and uuid
}

// kept is what a value was set to, while the configuration says what it said then.
type kept struct {
	Data any    `json:"data"`
	Over string `json:"over"` // what it was before, from the configuration
}

// maxKept is how many sets are kept: no stranger fills the disk.
const maxKept = 4096

// setKey is the key of a value in memory.Set.
func setKey(node, uuid string) string { return node + "/" + uuid }

// Recall reads what Memory returned.
func (b *bridge) Recall(doc []byte) error {
	b.mem = memory{Numbers: map[string]int{}, Set: map[string]kept{}}
	if len(doc) == 0 {
		return nil
	}
	m := b.mem
	if err := json.Unmarshal(doc, &m); err != nil || m.Numbers == nil || m.Set == nil {
		return fmt.Errorf("what was set is not known: %.60q", doc)
	}
	b.mem = m
	b.readdress()
	return nil
}

// Memory returns what is to be kept.
func (b *bridge) Memory() []byte {
	doc, err := json.Marshal(b.mem)
	if err != nil {
		panic(err) // texts, numbers and bools
	}
	return doc
}

// recalled returns what a value was set to, or what the configuration says, whose text is over.
func (b *bridge) recalled(node, uuid, over string) (any, bool) {
	k, ok := b.mem.Set[setKey(node, uuid)]
	if !ok || k.Over != over {
		return nil, false
	}
	return k.Data, true
}

// remember keeps what a value was set to.
func (b *bridge) remember(node, uuid, over string, data any) error {
	key := setKey(node, uuid)
	if _, has := b.mem.Set[key]; !has && len(b.mem.Set) >= maxKept {
		return reports.Errorf(reports.CodeBusy, "%d values are set already", maxKept)
	}
	b.mem.Set[key] = kept{Data: data, Over: over}
	return nil
}
