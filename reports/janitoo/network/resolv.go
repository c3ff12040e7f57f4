package network

import (
	"encoding/json"
	"maps"
	"time"

	"rollcall/reports/janitoo/wire"
)

// Bounds of the answers to secondaries (JANITOO.md §1.1: chunks of at most 10 entries).
const (
	maxEntries  = 10
	maxChunk    = 64 << 10 // bytes, unless one node has more
	maxChunks   = 65_536
	maxAnswers  = 64 // that wait
	burst       = 16 // chunks at a time
	pace        = 5 * time.Millisecond
	quietResolv = 500 * time.Millisecond // after the last chunk, no more are waited for
	beatBack    = 200 * time.Millisecond // between answers to beats of others
)

// unnamed stands for a primary that has answered, but has not said who it is yet.
const unnamed = wire.Hadd("unnamed")

// peer is the primary, as a secondary knows it.
type peer struct {
	hadd    wire.Hadd // "": there is none
	standIn bool
	beat    time.Time     // the last one; zero: none yet
	last    time.Time     // when it gave a sign
	period  time.Duration // of its beats; 0: not known
}

// duties are what is due by itself.
type duties struct {
	look, beat, pace time.Time
	lastBeat         time.Time
	answers          []*answer
}

// answer is an answer to a secondary, on its way.
type answer struct {
	wire.Request
	chunks [][]wire.Hadd
	at     int
}

// lostAt returns when the primary counts as gone; zero: there is none, or it is being looked for. A primary may miss two beats,
// however far apart they are, so that one that beats as seldom as the timeout is not lost and found for ever.
func (n *Network) lostAt() time.Time {
	if n.cfg.Role == Primary || n.primary.hadd == "" || n.state == Resolv || n.state == Stopped {
		return time.Time{}
	}
	period := n.primary.period
	if period == 0 {
		period = n.cfg.ResolvTimeout
	}
	return n.primary.last.Add(max(n.cfg.ResolvTimeout, missedBeats*period))
}

// resolvBeat is what a primary says of itself; the role is ours, and the original's programs pass over it.
func (n *Network) resolvBeat(s wire.State) Message {
	own := string(n.cfg.Own)
	return Message{wire.ResolvHeartbeat, wire.Marshal(map[string]any{"add_ctrl": own[:4], "add_node": own[5:], "state": s, "role": n.cfg.Role})}
}

// beat tells secondaries that there is a primary.
func (n *Network) beat() {
	n.send(n.resolvBeat(wire.Online))
	n.duties.lastBeat = n.now
	n.duties.beat = n.now.Add(n.cfg.ResolvTimeout / beatsPerTimeout)
}

// beatBack tells another that takes itself for the primary.
func (n *Network) beatBack() {
	if n.now.Sub(n.duties.lastBeat) >= beatBack {
		n.beat()
	}
}

// heardPrimary takes a primary's beat.
func (n *Network) heardPrimary(topic string, payload []byte) {
	h, err := wire.ParseHeartbeat(topic, payload)
	from := h.Hadd()
	if err != nil || from == "" || from == n.cfg.Own {
		return
	}
	var more struct{ Role Role }
	_ = json.Unmarshal(payload, &more) // the original's has none
	standIn := more.Role == Secondary
	switch {
	case n.cfg.Role == Primary:
		if standIn && h.State != wire.Offline {
			n.beatBack()
		}
	case h.State == wire.Offline:
		if from == n.primary.hadd {
			n.fail()
		}
	case n.failed && standIn && from > n.cfg.Own:
		n.beatBack() // of those who stand in, the lowest address does
	case n.failed:
		n.primary = peer{hadd: from, standIn: standIn, beat: n.now, last: n.now}
		n.recover()
	default:
		n.noteBeat(from, standIn)
	}
}

// noteBeat notes a beat of the primary, or of one that goes before it.
func (n *Network) noteBeat(from wire.Hadd, standIn bool) {
	p := &n.primary
	switch {
	case p.hadd == "" || p.hadd == unnamed:
		*p = peer{hadd: from, standIn: standIn}
	case p.hadd == from:
	case !standIn || (p.standIn && from < p.hadd):
		*p = peer{hadd: from, standIn: standIn}
	default:
		return
	}
	if !p.beat.IsZero() {
		p.period = min(max(n.now.Sub(p.beat), p.period*3/4), longestPeriod)
	}
	p.beat, p.last = n.now, n.now
	if n.state == Resolv && len(n.ask.parts) == 0 {
		n.step.until = n.now.Add(quietResolv)
	}
}

// heardResolv takes a secondary's request.
func (n *Network) heardResolv(payload []byte) {
	r, err := wire.ParseRequest(payload)
	if err != nil || !n.acting() || r.ReplyHadd == string(n.cfg.Own) || len(n.duties.answers) >= maxAnswers {
		return
	}
	if _, ok := wire.InfoGenre(r.UUID); !ok {
		return
	}
	for _, a := range n.duties.answers {
		if a.UUID == r.UUID && a.ReplyHadd == r.ReplyHadd {
			return
		}
	}
	n.duties.answers = append(n.duties.answers, &answer{Request: r})
	if n.duties.pace.IsZero() {
		n.answerOn()
	}
}

// answerOn sends some chunks of what secondaries have asked for. They wait while the map is being made.
func (n *Network) answerOn() {
	n.duties.pace = n.now.Add(pace)
	if n.state != Started {
		n.duties.pace = n.now.Add(quietNodes)
		return
	}
	if len(n.duties.answers) == 0 {
		n.duties.pace = time.Time{}
		return
	}
	for range burst {
		if len(n.duties.answers) == 0 {
			return // the next one waits for its turn, however little this one was
		}
		a := n.duties.answers[0]
		if a.chunks == nil {
			a.chunks = n.store.chunks(a.UUID)
		}
		n.send(n.chunk(a))
		if a.at++; a.at == len(a.chunks) {
			n.duties.answers = n.duties.answers[1:]
		}
	}
}

// chunk makes the message of a piece: the request's keys, the data, which of how many it is, and whether the map is complete: of one
// that is not, the asker asks the controllers itself.
func (n *Network) chunk(a *answer) Message {
	out := maps.Clone(a.Fields)
	out["data"] = wire.Marshal(n.store.data(a.UUID, a.chunks[a.at]))
	out["chunk"], out["chunks"] = wire.Marshal(a.at), wire.Marshal(len(a.chunks))
	out["complete"] = wire.Marshal(n.ask.complete())
	topic := wire.ResolvBroadcast
	if a.ReplyHadd != "" {
		topic = wire.ResolvReplyRoot + a.ReplyHadd
	}
	return Message{topic, wire.Marshal(out)}
}
