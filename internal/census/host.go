package census

import (
	"math/bits"
	"slices"
	"time"
)

// Limits of what a host says in one sweep of one requester.
const (
	MaxAnswers = 16               // rounds in which it answers: enough for a burst of losses to end
	MaxCopies  = 8                // of one answer
	copyEvery  = time.Millisecond // between the copies of an answer
	MaxWindow  = 30 * time.Second // over which answers are spread; a longer one is cut to this

	maxFailed  = 6                     // times that an answer is tried which can't be sent
	failedWait = 20 * time.Millisecond // after the first time; then twice as long each
)

// Attendance is what a host remembers of one sweep of one requester. The zero value is that of a sweep not heard of yet. It
// holds no clock and no timer: whoever has it asks Due and says what time it is.
//
// A host sends no more bytes than it got from the requester in the same sweep.
type Attendance struct {
	First uint32 // seq of the first request heard
	Tx    uint16 // replies sent

	in, out int // bytes
	answers uint8
	rounds  [MaxAnswers]uint16 // that it answered
	left    uint8              // copies still to be sent
	due     time.Time          // of the next copy
	seq     uint32             // of the request that they answer
	round   uint16
	came    time.Time // when that request did
	failed  uint8     // times in a row that it could not be sent
}

// Hear takes note of a request of so many bytes, whether it is for this host or not.
func (a *Attendance) Hear(seq uint32, size int) {
	if a.First == 0 {
		a.First = seq
	}
	a.in += size
}

// Cancel forgets the copies that are still to be sent: the requester has heard the host.
func (a *Attendance) Cancel() { a.left = 0 }

// Open reports whether the round has not been answered, and may be.
func (a *Attendance) Open(round uint16) bool {
	return a.answers < MaxAnswers && !slices.Contains(a.rounds[:a.answers], round)
}

// Plan sets the answer to a request down for its slot, and returns false if there is to be none: the round was answered
// before, or too many were. slot is the host's hash in the round; a window of 0 means at once.
func (a *Attendance) Plan(round uint16, seq uint32, window time.Duration, slot uint64, copies uint8, now time.Time) bool {
	if !a.Open(round) {
		return false
	}
	a.rounds[a.answers] = round
	a.answers++
	wait, _ := bits.Mul64(slot, uint64(min(max(window, 0), MaxWindow)))
	a.left, a.due = min(max(copies, 1), MaxCopies), now.Add(time.Duration(wait))
	a.seq, a.round, a.came, a.failed = seq, round, now, 0
	return true
}

// Due returns when the next copy is to be sent, and false if there is none.
func (a *Attendance) Due() (time.Time, bool) { return a.due, a.left > 0 }

// Turn is a reply to be sent now.
type Turn struct {
	Round uint16
	Seq   uint32
	Tx    uint16        // of this reply
	Delay time.Duration // since the request came
}

// Take returns the reply that is due, of so many bytes. There is none, and no further copy, if it would make more bytes go out
// than came in.
func (a *Attendance) Take(size int, now time.Time) (Turn, bool) {
	if a.left == 0 {
		return Turn{}, false
	}
	if !a.Afford(size) {
		a.left = 0
		return Turn{}, false
	}
	a.left--
	a.due = now.Add(copyEvery)
	return Turn{a.round, a.seq, a.Tx, now.Sub(a.came)}, true
}

// Failed takes note that the reply just taken, of so many bytes, could not be sent. It is due again a little later, in case that
// what is full, such as the table of neighbours, is so for an instant only. The requester sees that one was lost.
func (a *Attendance) Failed(size int, now time.Time) {
	a.out -= size
	if a.failed == maxFailed {
		return
	}
	a.due = now.Add(failedWait << a.failed)
	a.failed++
	a.left++
}

// Afford counts a reply of so many bytes, unless it would make more bytes go out than came in.
func (a *Attendance) Afford(size int) bool {
	if a.out+size > a.in {
		return false
	}
	a.out += size
	a.Tx++
	return true
}
