// Package census is the algorithm of a sweep (DISCOVERY.md §5.2 to §5.4): who is asked when, how many are likely to be unheard
// still, and when that is little enough to stop; and on the host's side when to answer.
//
// It is pure: no socket, no clock, no goroutine. Times are given to it, as durations since the sweep began on the requester's
// side, so that it runs in virtual time in tests just as it does on a network. It knows nothing of what hosts say of
// themselves, of addresses, or of keys.
//
// # Rounds
//
// Round 0 asks a sample, so small that the socket's buffer holds all who can be in it, to learn how many there are; it is left
// out where hosts are known from earlier. Round 1 asks everyone, in two copies; where a few hundred hosts are likely at most, the second
// one is sent after the replies to the first, and only if hardly anybody has answered. Each later round carries a filter of the hosts
// heard, under a fresh salt so that whoever a filter hides by chance is hidden only once, in three copies that the hosts answer
// in up to three; where nobody is expected any longer there are eight of either, which hosts look at in one go and nobody answers, so
// that few rounds are enough to outlast a burst of losses. Where nothing has changed since the round before, and hardly anybody can be
// hidden, the salt stays, by which hosts know that it is the same question. Copies that have become needless are not sent. Once all
// who are known have answered, the next round follows at once, and there are half as many copies, and half of those where nothing was lost:
// a stranger in one of fifty sweeps is a matter of time rather than of copies. Replies are spread over a window, as fast as the socket can
// take them and no faster.
//
// Networks of which most hosts are in another one too, as IPv6 beside IPv4, are asked late: in rounds where nobody of the other is
// expected, so that hosts do not answer twice. How many hosts are in them alone is reckoned by itself: the strangers that there may
// always be, which are fewer where all known hosts have answered and none is in them alone, and those found there.
//
// # When to stop
//
// From the number of requests that a host missed before its first, and the number of replies that were lost before the first
// that came, follow upper bounds of the loss in each direction; from these the probability Q that a host which is there was not
// heard in any round so far, and the number of such hosts, H·Q/(1-Q) where H were heard. The sweep ends when that is below
// Delta and at least one round (two where few were heard, more where hosts were found late) brought nobody new.
//
// Losses that hold on for longer than the sweep look like absence to it. Who had to resolve the requester's address may be
// silent for a second after a loss: then late rounds follow. Hosts known from earlier that stay silent are asked three times by
// unicast, each time a while later, and after a third of a second without an answer reported as missing.
package census

import "time"

// Delta is the expected number of unheard hosts below which a sweep is complete.
const Delta = 1e-4

// LeastAsks is how many requests to everyone a sweep makes at least before it spares some: of so many one comes to a host that is flooded.
const LeastAsks = 6

// Probes is how often a known host that is silent is asked by unicast.
const Probes = 3

// UnicastSeq is where the sequence numbers of datagrams to single hosts begin: nobody else hears these, so they must not count
// as lost.
const UnicastSeq = 1 << 31

// RangeCopies is how many copies of the request the addresses of a range get.
const RangeCopies = 2 + 3

// Defaults of Config.
const (
	DefaultRate   = 60_000 // replies of 500 bytes a second: less than a third of what 1 GbE carries
	SmallRate     = 20_000 // that a socket with the kernel's default buffer takes without loss (DISCOVERY.md §2.2)
	WirelessRate  = 2_000
	DefaultBuffer = 166 // replies of 500 bytes in 212,992 bytes of buffer
)

// Config says whom a sweep asks, and what limits it.
type Config struct {
	Sweep   uint64 // its id
	Known   []ID   // hosts that answered earlier
	Open    bool   // others may answer too: the requests are broadcast
	Most    int    // hosts that there can be in the networks asked; 0: not known
	Singles int    // addresses asked by unicast, each of which should answer
	// Rate is how many replies a second can be taken in; 0: DefaultRate. Buffer is how many fit the socket; 0: DefaultBuffer.
	Rate     float64
	Buffer   int
	Range    bool          // so many addresses are asked one after the other that there are no more than two rounds of them
	Late     bool          // some, as few as there are strangers, are asked from round 2 on only, by what says so
	Trip     time.Duration // to where the hosts are and back, if that is far
	Wireless bool          // hosts may sleep between two beacons: longer guards and pauses
	Filter   int           // bytes that a request has room for
	Limit    time.Duration // when the sweep ends at the latest
	Salt     func() uint64 // returns fresh salts
}

// Ask is a request to be sent now.
type Ask struct {
	Call
	Round  uint16
	Seq    uint32
	Window time.Duration // over which replies are to be spread
	Copies uint8         // of each reply
	Copy   int           // which of the copies of its round it is, from 0
	First  bool          // the first copy of its round's first datagram
	Late   bool          // it is for those too that are asked from round 2 on, see Config
	To     ID            // the one host to be asked by unicast; zero: everyone
}

// Heard is what a reply says that matters here.
type Heard struct {
	ID       ID
	Seq      uint32 // of the request that it answers
	First    uint32 // seq of the first request that the host heard
	Tx       uint16 // replies that the host had sent, with this one
	Delay    time.Duration
	Resolved bool // the host had to find out the requester's hardware address
	Late     bool // the host is one of those that are asked from round 2 on only
}

// Result is how a sweep went.
type Result struct {
	Complete    bool
	Why         string  // if it is not complete
	PMiss       float64 // bound of the expected number of hosts that are there and were not heard
	Missing     []ID    // known hosts that were silent
	RequestLoss float64 // estimated share of requests that got lost
	ReplyLoss   float64 // of replies
	Rounds      int
	Drops       uint32 // replies that the own socket had no room for
}
