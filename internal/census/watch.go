package census

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"time"
)

// Timing of a watch.
const (
	DefaultCycle = 25 * time.Second // in which each host is asked once: with the copies that get lost within 30 s
	defaultBeat  = time.Second
	leastEvery   = 10 * time.Millisecond
	grace        = 0.9             // of the time between two requests, after which who has not answered is silent
	answerable   = 5 * time.Second // after a request, an answer is to another one
	leastWindow  = 50 * time.Millisecond
	mostWindow   = 400 * time.Millisecond
	changeFor    = 10 * time.Second // for which a host that has changed says so, unless it is heard
	maxChangeFor = time.Minute
)

// Bounds of a watch.
const (
	MaxNames    = 64     // hosts named in one request
	maxWatched  = 65_536 // hosts
	maxCurious  = 32
	curiousFor  = 3    // requests that name a host which says hello
	few         = 8    // silent hosts, up to which they are asked by unicast in turn
	wrongly     = 1e-6 // probability that a host which is there counts as lost, in one cycle
	leastAsked  = 1 + 3
	mostAsked   = 20
	priorAsked  = 50 // requests to single hosts that the first estimate of the loss counts as
	forgetAsked = 4000
	markBits    = 10 // of the filter for a host that has changed, at least
)

// WatchConfig says whom a watch asks, and what limits it.
type WatchConfig struct {
	Sweep, Salt uint64
	Targets     int           // addresses that requests go to: those of networks or of single hosts
	Cycle       time.Duration // in which each host is asked; 0: DefaultCycle
	Beat        time.Duration // between two requests, whoever they are for; 0: a second
	Room        int           // bytes of a request for filter and names
	Rate        float64       // replies a second that can be taken in; 0: SmallRate
	Lost        float64       // share of the requests to hosts that get no answer, as far as is known
	Since       time.Duration // how long ago the hosts were seen that the watch begins with
}

// Beat is a request to be sent now: to a target or, where To is not zero, to one host.
type Beat struct {
	Call
	Seq     uint32
	Target  int
	To      ID
	Names   []ID          // hosts that are to answer in any case
	Changed time.Duration // hosts that changed later than this ago and are not in the filter are to answer too
	Window  time.Duration
}

// Watch follows hosts with one request a second. Each request asks that part of the hosts whose turn it is, so that each is
// asked once in a cycle, those who have changed and were not heard since, and by name those who were silent. Who stays silent
// is lost: after three more requests at least, and as many as it takes where datagrams get lost.
//
// It is pure, as Sweep is: times are given to it. It is not safe for concurrent use.
type Watch struct {
	c       WatchConfig
	seq     uint32
	next    time.Duration // when the next beat is
	turn    int
	targets []turn
	hosts   map[ID]*watched
	curious []curious
	instead bool   // the last request was none of ours
	sent    []sent // the beats of the last answerable
	marks   []mark // of hosts that changed of late, the oldest first

	asked, missed float64 // requests to single hosts, and those that got no answer
	replies       float64 // to one beat, of late
	drops         uint32
}

// turn says whose turn it is at a target.
type turn struct {
	cursor uint64
	at     time.Duration // up to when the cursor has come
}

// watched is a host.
type watched struct {
	place   uint64
	target  int // by which it is reached; -1: not known
	edition uint16
	heard   time.Duration
	asked   time.Duration // when it last was, and silent
	silent  int           // requests in a row without an answer
	alone   bool          // answers only when it is asked alone
}

type curious struct {
	id    ID
	times int
}

type sent struct {
	Beat
	at, end time.Duration // end: who has not answered until then is silent
	settled bool
	before  turn // of its target
}

type mark struct {
	id      ID
	edition uint16
	at      time.Duration
}

// NewWatch returns a watch of nobody. Time begins at 0.
func NewWatch(c WatchConfig) *Watch {
	c.Cycle, c.Rate, c.Targets, c.Beat = cmp.Or(c.Cycle, DefaultCycle), cmp.Or(c.Rate, SmallRate), max(c.Targets, 1), cmp.Or(c.Beat, defaultBeat)
	return &Watch{c: c, targets: make([]turn, c.Targets), hosts: map[ID]*watched{}, next: c.Beat}
}

// Add takes in a host that is known from earlier. target is -1 for one that has not answered of late.
func (w *Watch) Add(id ID, edition uint16, target int) {
	if len(w.hosts) >= maxWatched {
		return
	}
	h := &watched{place: w.place(id), target: target, edition: edition}
	if target < 0 {
		h.silent = 1
	}
	w.hosts[id] = h
}

func (w *Watch) place(id ID) uint64 { return SpreadOf(w.c.Sweep, w.c.Salt, id).Place }

// Forget takes out a host that has said that it goes.
func (w *Watch) Forget(id ID) { delete(w.hosts, id) }

// Look has a host asked by name soon, at that target first.
func (w *Watch) Look(id ID, target int) {
	if len(w.curious) < maxCurious && !slices.ContainsFunc(w.curious, func(c curious) bool { return c.id == id }) {
		w.curious = append(w.curious, curious{id: id})
	}
	if target >= 0 {
		w.turn = target
	}
}

// Alone notes that the host answers only when it is asked alone, such as one whose clock is wrong.
func (w *Watch) Alone(id ID) {
	if h := w.hosts[id]; h != nil {
		h.alone = true
	}
}

// Instead reports whether the caller may send a request of his own now, in place of the next beat; every second one is a beat.
func (w *Watch) Instead(now time.Duration) bool {
	if now < w.next || w.instead {
		return false
	}
	w.instead, w.next = true, now+w.every()
	return true
}

// Unsent takes note that the last beat could not be sent: nobody is silent for that, and its hosts are due again.
func (w *Watch) Unsent() {
	last := &w.sent[len(w.sent)-1]
	last.settled = true
	if (last.To == ID{}) {
		w.targets[last.Target] = last.before
	}
}

// Asked reports whether an answer to the request of that number may come in now.
func (w *Watch) Asked(seq uint32, now time.Duration) bool {
	return slices.ContainsFunc(w.sent, func(s sent) bool { return s.Seq == seq && now-s.at <= answerable })
}

// Hear takes note of an answer by that target, and reports whether it tells something new: of a new host, or one that is in
// another edition.
func (w *Watch) Hear(id ID, edition uint16, target int, now time.Duration) (news bool) {
	w.curious = slices.DeleteFunc(w.curious, func(c curious) bool { return c.id == id })
	h := w.hosts[id]
	if h == nil {
		if len(w.hosts) >= maxWatched {
			return false
		}
		h = &watched{place: w.place(id), edition: edition}
		w.hosts[id], news = h, true
	} else if h.silent > 0 {
		w.missed += float64(h.silent)
		w.asked += float64(h.silent)
	}
	if h.edition != edition || news {
		h.edition, news = edition, true
		w.marks = append(w.marks, mark{id, edition, now})
	}
	h.heard, h.target, h.silent = now, target, 0
	w.replies++
	return news
}

// Dropped takes note of how many answers the own socket has had no room for.
func (w *Watch) Dropped(drops uint32) {
	w.replies += 2 * float64(drops-w.drops)
	w.drops = drops
}

// Next returns who was lost, the request to be sent now if ok is true, and when Next is to be called again.
func (w *Watch) Next(now time.Duration) (b Beat, ok bool, lost []ID, wake time.Duration) {
	for i := range w.sent {
		if s := &w.sent[i]; !s.settled && now >= s.end {
			s.settled = true
			lost = append(lost, w.settle(s)...)
		}
	}
	if now >= w.next {
		w.sent = slices.DeleteFunc(w.sent, func(s sent) bool { return now-s.at > answerable })
		before := w.targets[w.turn]
		b, ok = w.beat(now), true
		w.sent = append(w.sent, sent{Beat: b, at: now, end: now + time.Duration(grace*float64(w.c.Beat)), before: before})
		w.instead = false
		w.next = now + w.every()
	}
	wake = w.next
	for _, s := range w.sent {
		if !s.settled {
			wake = min(wake, s.end)
		}
	}
	return b, ok, lost, wake
}

// every returns the time between two requests: Beat, and less only where more single addresses are to be asked one by one
// than a cycle has seconds.
func (w *Watch) every() time.Duration {
	return min(w.c.Beat, max(DefaultCycle/time.Duration(len(w.targets)), leastEvery))
}

// settle takes into account who has not answered a request, and returns who is lost thereby.
func (w *Watch) settle(s *sent) (lost []ID) {
	if w.asked > forgetAsked {
		w.asked, w.missed = w.asked/2, w.missed/2
	}
	named := map[ID]bool{s.To: true}
	for _, id := range s.Names {
		named[id] = true
	}
	for id, h := range w.hosts {
		due := s.To == ID{} && h.target == s.Target && s.InRange(Spread{Place: h.place})
		switch {
		case !due && !named[id], h.alone && s.To != id:
		case h.heard >= s.at:
			w.asked++
		default:
			if h.silent++; h.silent >= w.most() {
				delete(w.hosts, id)
				lost = append(lost, id)
			}
		}
	}
	slices.SortFunc(lost, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	return lost
}

// most returns how many requests in a row a host may leave unanswered.
func (w *Watch) most() int {
	p := (w.missed + 0.5 + priorAsked*w.c.Lost) / (w.asked + priorAsked)
	return min(max(int(math.Ceil(math.Log(wrongly)/math.Log(min(p, 0.99)))), leastAsked), mostAsked)
}

// beat makes the next request.
func (w *Watch) beat(now time.Duration) Beat {
	w.seq++
	b := Beat{Seq: w.seq, Call: Call{Salt: w.c.Salt}, Changed: w.changed(now)}
	silent := w.silent(now)
	b.Window = min(max(time.Duration(2*max(w.replies, w.expected())/w.c.Rate*float64(time.Second)), leastWindow), mostWindow)
	w.replies /= 2
	i := slices.IndexFunc(silent, func(id ID) bool {
		return w.hosts[id].target >= 0 && (len(silent) <= few || w.hosts[id].alone)
	})
	if i >= 0 && w.seq%2 == 0 {
		b.To, b.Target, b.Window = silent[i], w.hosts[silent[i]].target, 0
		b.Lo, b.Hi, b.Names = 1, 1, []ID{b.To} // of nobody else
		w.hosts[b.To].asked = now
		return b
	}
	b.Target = w.turn
	w.turn = (w.turn + 1) % len(w.targets)
	b.Lo, b.Hi = w.due(&w.targets[b.Target], now)
	w.name(&b, silent, now)
	w.mark(&b, now)
	return b
}

// changed returns since when changes are of interest.
func (w *Watch) changed(now time.Duration) time.Duration {
	rounds := 3 * time.Duration(len(w.targets)) * w.every()
	return max(min(max(changeFor, rounds), maxChangeFor, now+w.c.Since), time.Millisecond)
}

// expected returns how many replies a beat is likely to get.
func (w *Watch) expected() float64 {
	return float64(len(w.hosts)) * float64(w.every()) / float64(w.c.Cycle)
}

// silent returns the hosts that have not answered, those that were not asked for longest first. Those that are to be asked
// alone are among them when they are due.
func (w *Watch) silent(now time.Duration) (ids []ID) {
	for id, h := range w.hosts {
		if h.silent > 0 || h.alone && now-max(h.heard, h.asked) > w.c.Cycle*4/5 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b ID) int {
		return cmp.Or(cmp.Compare(w.hosts[a].asked, w.hosts[b].asked), bytes.Compare(a[:], b[:]))
	})
	return ids
}

// due moves on to those whose turn it is at a target by now, and returns their range.
func (w *Watch) due(t *turn, now time.Duration) (lo, hi uint64) {
	share := float64(now-t.at) / float64(w.c.Cycle)
	if share >= 1 {
		*t = turn{at: now}
		return 0, 0
	}
	width := max(uint64(share*(1<<63))<<1, 1)
	lo, hi = t.cursor, t.cursor+width
	if t.at = now; hi <= lo { // beyond the end: the rest is due next time
		t.at = now - time.Duration(float64(hi)/(1<<64)*float64(w.c.Cycle))
		hi = 0
	}
	t.cursor = hi
	return lo, hi
}

// name names those who were silent, and those who said hello.
func (w *Watch) name(b *Beat, silent []ID, now time.Duration) {
	most := min(MaxNames, w.c.Room/2/len(ID{}))
	for i := range w.curious {
		c := &w.curious[i]
		c.times++
		b.Names = append(b.Names, c.id)
	}
	w.curious = slices.DeleteFunc(w.curious, func(c curious) bool { return c.times >= curiousFor })
	for _, id := range silent {
		h := w.hosts[id]
		if len(b.Names) >= most {
			return
		}
		if (h.target == b.Target || h.target < 0) && !slices.Contains(b.Names, id) {
			h.asked = now
			b.Names = append(b.Names, id)
		}
	}
}

// mark puts those who changed of late and were heard into the filter. Where there are too many, such as after a power cut, it
// takes the latest, and only who has changed just now is asked: the others are due soon.
func (w *Watch) mark(b *Beat, now time.Duration) {
	w.marks = slices.DeleteFunc(w.marks, func(m mark) bool { return now-m.at > b.Changed+answerable })
	room := max(w.c.Room-len(b.Names)*len(ID{}), 0)
	fits := w.marks[max(len(w.marks)-room*8/markBits, 0):]
	if len(fits) == 0 {
		return
	}
	if len(fits) < len(w.marks) {
		b.Changed = min(b.Changed, 2*time.Duration(len(w.targets))*w.every())
	}
	size := min(room, len(fits)*bitsPerHost/8+8)
	bits := float64(size) * 8 / float64(len(fits))
	b.Filter, b.Hashes = make([]byte, size), uint8(min(max(math.Round(bits*math.Ln2), 1), maxHashes))
	for _, m := range fits {
		b.Add(MarkOf(w.c.Sweep, w.c.Salt, b.Seq, m.edition, m.id))
	}
}
