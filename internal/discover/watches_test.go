package discover

import (
	"math"
	"testing"
	"time"

	"rollcall/internal/census"
)

// TestWhomAWatchAsks gives a host requests of a watch: it answers when it is due, named, or has changed unheard.
func TestWhomAWatchAsks(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newBed(t, "127.0.0.1:0", func(c *ResponderConfig) { c.Now = func() time.Time { return now } })
	b.r.refresh(now, 0)
	h := testHost(1, "pi")
	b.r.Update(h)
	edition, place := b.r.said.Load().edition, census.SpreadOf(9, 7, h.ID).Place
	filter := func(seq uint32, edition uint16) []byte {
		c := census.Call{Filter: make([]byte, 64), Hashes: 8}
		c.Add(census.MarkOf(9, 7, seq, edition, h.ID))
		return c.Filter
	}
	seq := uint32(0)
	ask := func(change func(*Request)) outcome {
		seq++
		q := question(9, seq)
		q.Salt, q.Lo, q.Hi, q.Changed, q.Round = 7, 1, 1, 10*time.Second, 1 // of a range that is empty
		q.Time = now
		change(&q)
		return give(b, mustMarshal(t, q), "127.0.0.1", 1)
	}
	nothing := func(*Request) {}
	check := func(what string, got, want outcome) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("just started", ask(nothing), answered)
	check("the same, in the next request", ask(nothing), answered)
	check("heard", ask(func(q *Request) { q.Filter, q.FilterHashes = filter(q.Seq, edition), 8 }), unselected)
	check("heard as it was", ask(func(q *Request) { q.Filter, q.FilterHashes = filter(q.Seq, edition-1), 8 }), answered)
	check("hidden in another request", ask(func(q *Request) { q.Filter, q.FilterHashes = filter(q.Seq+1, edition), 8 }), answered)
	check("another is wanted", ask(func(q *Request) { q.Want = "pa*" }), unselected)
	now = now.Add(11 * time.Second)
	check("long ago", ask(nothing), unselected)
	check("due", ask(func(q *Request) { q.Lo, q.Hi = place, place+1 }), answered)
	check("next one's turn", ask(func(q *Request) { q.Lo, q.Hi = place+1, math.MaxUint64 }), unselected)
	check("named", ask(func(q *Request) { q.Names = []ID{{1}, h.ID} }), answered)
	check("another named", ask(func(q *Request) { q.Names = []ID{{1}} }), unselected)
	b.r.Update(h)
	check("told the same", ask(nothing), unselected)
	h.Services = []Service{{Name: "gpio", Function: "gpio"}}
	b.r.Update(h)
	check("changed", ask(nothing), answered)
	if got := b.r.said.Load().edition; got == edition {
		t.Errorf("edition is %d after a change as before", got)
	}
	for range 2 * census.MaxAnswers { // a watch has no end
		check("named again", ask(func(q *Request) { q.Names = []ID{h.ID} }), answered)
	}
}

func TestWatchRequestIsChecked(t *testing.T) {
	t.Parallel()
	q := question(1, 1)
	q.Changed, q.Names = 1500*time.Millisecond, []ID{{1}, {2}}
	got, err := ParseRequest(mustMarshal(t, q))
	if err != nil || got.Changed != q.Changed || len(got.Names) != 2 || got.Names[1] != (ID{2}) {
		t.Errorf("ParseRequest() = %+v, %v, want the names and time of %+v", got, err, q)
	}
	for name, change := range map[string]func(*Request){
		"names without a watch": func(q *Request) { q.Changed = 0 },
		"too many names":        func(q *Request) { q.Names = make([]ID, maxNames+1) },
		"too long ago":          func(q *Request) { q.Changed = maxChanged + time.Millisecond },
		"negative":              func(q *Request) { q.Changed = -time.Millisecond },
		"a page":                func(q *Request) { q.Page = 1 },
		"a sample":              func(q *Request) { q.Sample = 1 },
	} {
		bad := q
		change(&bad)
		if b, err := bad.Marshal(); err == nil {
			t.Errorf("%s: marshalled to %x", name, b)
		}
	}
	if names, err := splitNames(make([]byte, 9)); err == nil {
		t.Errorf("splitNames of 9 bytes = %v", names)
	}
}
