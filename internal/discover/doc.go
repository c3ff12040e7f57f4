// Package discover is the sweep and the responder on UDP: the wire format RCL1 and the original JSON form (PROTOCOL.md §1, §2),
// and the guard that decides whose broker a request may have answers sent to.
//
// It never connects to a broker itself and knows nothing of agents.
//
// # The sealed form, version 1
//
// All numbers are big-endian. The first 64 bytes of replies and 102 of requests are fixed; a body in CBOR (RFC 8949) follows:
// one map with whole numbers as keys, definite lengths, no tags, no key twice, valid UTF-8. "Sealed" is the name of the form;
// a body is encrypted only where the flag says so.
//
// A request has 1,200 to 1,400 bytes, an even number: header, body, zeros, if signed the group tag, in 64 bytes the Ed25519 signature over
// all before it (zeros if unsigned), and with flag 8 host tags: 1 to 128 of 8 bytes, their number (2 bytes), and the first 6 bytes of
// SHA-256 of tags and number. A tail of one zero byte may follow, where it leaves by Ethernet: the host's kernel takes it
// off if the frame did not come from the MAC that the request names, and only a requester with a tail is ever installed as
// neighbour. Its fields, "request: offset size field":
//
//	request:   0  4  magic "RCL1"
//	request:   4  1  version: 1
//	request:   5  1  type: 1
//	request:   6  2  flags: 1 signed, 2 replies are to be signed, 4 a host whose clock differs is to send a challenge,
//	                 8 host tags stand behind the signature
//	request:   8  8  sweep id: 1 to 2^53-1
//	request:  16  8  time: milliseconds since 1970
//	request:  24  8  operator key id; 0: unsigned
//	request:  32 16  requester's address, IPv4 as ::ffff:a.b.c.d; 0: not said
//	request:  48  6  requester's MAC on this interface; 0: not said
//	request:  54  1  length of its network's prefix
//	request:  55  1  copies of each reply; 0 is 1
//	request:  56  2  port for the reply; 0: the source port
//	request:  58  2  round
//	request:  60  4  seq: number of this datagram in the sweep, from 1
//	request:  64  4  window over which replies are spread, µs; 0: at once
//	request:  68  8  sample: who hashes below it answers; 0: all
//	request:  76  8  range, from
//	request:  84  8  range, up to and without; 0: no bound
//	request:  92  8  salt of the hashes
//	request: 100  2  length of the body
//
// Keys of its body, all optional. A key that is not known makes the request one that must not be answered:
//
//	1 bytes  filter: Bloom filter of the hosts heard      4 number  port of a broker on the requester's address
//	2 number hashes of the filter                         5 text    topic there
//	3 text   selector: who is wanted                      6 number  page of the reply
//	                                                      7 bytes   cookie of the host's challenge
//	8 number milliseconds: the request is of a watch      9 bytes   ids of hosts, one after the other: at most 64
//
// A selector is terms with commas between them, all of which must hold: a pattern of host names, service=PATTERN for the names
// and functions of services, class=PATTERN for the device classes of their points; * and ? stand for any characters.
//
// The hashes of a host are the four 8-byte words of SHA-256(sweep id, salt, host id): its place (for the range), its sample,
// its slot in the window, and the word w of the filter, whose i-th bit is (w>>32 + i·(w mod 2^32 | 1)) mod the bits of the
// filter; bit n is bit n mod 8, from the least, of byte n/8.
//
// A request with key 8 is one of a watch. Those answer it who are in its range or named by key 9, and those who started or
// changed no longer than so many milliseconds ago (60,000 at most) unless the filter has their mark: the fourth word of
// SHA-256(sweep id, salt XOR (seq·2^16 + edition), host id). It is answered whatever was answered before in the same sweep.
//
// A reply has at most 1,200 bytes, so none is longer than its request: header, body, and the host's signature if the flag
// says so. What does not fit stands on further pages, which are asked for one by one. Its fields:
//
//	reply:   0  4  magic "RCL1"
//	reply:   4  1  version: 1
//	reply:   5  1  type: 2
//	reply:   6  2  flags: 1 body encrypted, 2 open, 4 broker on loopback only, 8 no neighbour installed, 16 signed,
//	               32 challenge
//	reply:   8  8  host id
//	reply:  16  8  host key id; 0: none
//	reply:  24  8  sweep id
//	reply:  32  2  round
//	reply:  34  1  page, from 0
//	reply:  35  1  pages, 1 to 64
//	reply:  36  2  edition: other pages than before
//	reply:  38  4  seq of the request answered
//	reply:  42  4  first seq heard in this sweep
//	reply:  46  2  replies sent in this sweep, with this one
//	reply:  48  6  MAC of the interface that answers
//	reply:  54  4  delay since the request came, µs
//	reply:  58  4  age of the host's monitor, s
//	reply:  62  2  length of the body
//
// Keys of its body; those that are not known are passed over. Pages after the first have keys 10 and 11 only:
//
//	1 text host name     2 list of bytes: addresses    3 text public address    4 text model      5 text system
//	6 text architecture  7 text version                8 text boot id           9 list of text: URLs of the broker
//	10 list of services, each a list: name, function ("" if it is the name), status (0 unknown, 1 online, 2 offline),
//	   number of points, digest of the description (8 bytes, or none)
//	11 number whose bit i, from the least, is set where service i of this page is simulated; left out if none is
//
// A hello has 64 bytes, and if it is signed the host's public key and its signature over all before it (160 in all). A host
// broadcasts it from port 37030 to port 37031, and to the IPv6 group, unasked; nobody answers it. It holds no names:
//
//	hello:   0  4  magic "RCL1"
//	hello:   4  1  version: 1
//	hello:   5  1  type: 3
//	hello:   6  2  flags: 1 signed, 2 open, 4 the host goes
//	hello:   8  8  host id
//	hello:  16  8  host key id; 0: none
//	hello:  24  8  time: milliseconds since 1970
//	hello:  32  4  number of this hello since the monitor started, from 1
//	hello:  36  4  age of the host's monitor, s
//	hello:  40  6  MAC of the interface that it leaves by
//	hello:  46  2  edition of the replies
//	hello:  48 16  boot id; 0: not known
//
// # Relays
//
// Routers pass on no broadcasts. An operator asks a network that he is not in by way of a host there that obeys him, its relay. The
// relay does for him what he can't do, and what it could do itself if it were an operator; the other hosts notice nothing of it.
// All four kinds of datagram begin alike; the last five fields are those of a ticket:
//
//	relay:   0  4  magic "RCL1"
//	relay:   4  1  version: 1
//	relay:   5  1  type: 4
//	relay:   6  1  kind: 1 ticket, 2 offer, 3 order, 4 batch
//	relay:   7  1  flags: 1 of a ticket, the offer is to be signed, and of an offer, it is; 2 of an order, it comes with the ticket
//	relay:   8  8  sweep id
//	relay:  16  8  operator key id
//	relay:  24  8  time: milliseconds since 1970
//	relay:  32  4  number: of this kind in this sweep, from 1; an offer has that of its ticket
//	relay:  36  2  length of the body; of a ticket 0
//	relay:  38  2  zero
//	relay:  40 16  requester's address, IPv4 as ::ffff:a.b.c.d
//	relay:  56 16  relay's address: where the ticket goes
//	relay:  72 16  network that is asked for
//	relay:  88  1  length of its prefix
//	relay:  89  7  zeros
//
// A ticket has 512 bytes: these 96, zeros, the group tag of these 96 (8 bytes), and the operator's Ed25519 signature over all
// before it. It goes to one address and is good there, from the address that it names, for half a minute, once. The host checks,
// in this order: length, magic, version; that it relays at all, and is not open; that the operator is one; time, and that it is
// not from before its start; replay; that it came from the requester's address and was sent to the relay's; the tag; the rate of
// signatures; the signature; at most 20 a minute from one address. It takes at most one sweep of an operator at a time, and 8 in all.
//
// The offer has no more bytes than the ticket. Its body is sealed like a reply's: the relay's public key, a nonce, and in AES-256-GCM
// one CBOR map: 1 bytes host id, 2 text host name, 3 bytes nonce of 16, 4 list of links, each a list: address, length of the prefix,
// MAC (6 bytes, or none), 5 true: the relay takes early orders. The links are those whose address lies in the network of the ticket. Signed offers have the relay's
// signature over all before it behind the body.
//
// The operator now signs requests as if he were the relay: with its address, prefix and MAC on a link. They are good on that
// link only, for half a minute, and hosts install the relay as their neighbour. A relay whose key is not in known_hosts gets
// requests without a MAC, so that nobody who says that he is a relay has others installed where he likes.
//
// The body of orders (operator to relay) and batches (relay to operator) is a nonce of 12 bytes and text in AES-256-GCM, with the
// header as additional data. The keys are the two halves of 64 bytes, expanded from what a pair has extracted (below) with the info
// "rollcall RCL1 relay", sweep id, the offer's nonce: the first for orders, the second for batches. To know them
// is to have read the offer, so that whoever orders is where the ticket said. An order is the number of a link (1 byte, from 0),
// the host that is to be asked (4 bytes; 0: all, by the broadcast address), and a request without tail; without a request it ends
// the sweep. A batch is replies, each: link (1), address of the host (4), length (2), the reply as it came. Each number counts
// once, and one that is 64 below the highest not at all.
//
// An early order (flag 2) follows the ticket at once, with the sweep's first request, to a relay whose key, address, prefix and MAC are
// known from earlier. Its key is the one that a nonce of zeros gives, and its link 255: that whose address the request names. Orders
// are numbered together, early or not. Who knows nothing of early orders drops them; the operator sends the request again when
// an offer does not say that they are taken, or has other links. An early order proves nothing of where it comes from. So up to the first
// other one no more bytes go back than came, and up to 128 kB of replies wait; unless the operator has proved within the last ten minutes
// that he is at that address.
//
// The relay sends what it is ordered to if that is a request of this sweep, signed (which the hosts check) with the operator's key
// id, with its own address, prefix and MAC on that link, from now, without a broker and another port; and no more than 250 a
// second. Datagrams about relaying are no requests, so no relay relays for a relay. Replies of that sweep from hosts on that link,
// whatever is in them, go to the address that the ticket came from, and nowhere else: at most 4 MB a second and 64 MB in all, for
// a minute, until five seconds after the last order, the operator is removed, or the configuration is read anew.
//
// # Keys
//
// A request is signed with the operator's Ed25519 key. The 8 bytes before its signature are the group tag: the first of
// HMAC-SHA256 of its header, under "rollcall RCL1 tag" and the operator's public key. The tag proves nothing; but who does not
// know the public key, which is never sent, can't have a host check signatures for nothing. Key ids are the first 8 bytes of
// the SHA-256 fingerprint that ssh-keygen -l shows. A host that names its operators checks, in this order: length, magic,
// version; that the operator is one; replay; where it came from; the tag; time; range, sample, filter and names; the rates;
// at most 50 signatures a second and interface. A request is remembered by (operator, sweep, seq) once its signature holds.
// One from before the host's monitor started is old, whatever the clock says.
//
// A host tag is made for a host that the operator knows: the first 8 bytes of HMAC-SHA256, under what the pair has extracted (below), of
// "rollcall RCL1 request" and the SHA-256 of the request up to the end of its signature. A host that has answered the operator before and
// finds its tag does not check the signature; but it does if it has to remember the time of the request for good, which is so with flag 4 and
// with a time ahead of its own. To any other the request is one as without host tags, and so is one whose tags somebody has replaced. A sweep
// makes them for all hosts that it knows, if they are no more than 128, in its first round.
//
// The body of a sealed reply is the host's public key (32 bytes), a random nonce (12) and the body in AES-256-GCM, with the
// header as additional data. The key is HKDF-SHA256 (RFC 5869) of the X25519 secret of both keys: extracted with the salt
// "rollcall RCL1 pair", operator's key, host's key, which is done once a pair; expanded to 32 bytes with the info "rollcall RCL1
// reply", sweep id, which is done once a sweep. The X25519 keys are the Ed25519 ones on the Montgomery form of the same curve (RFC 7748
// §4.1), so that the one public line is all that either side needs. That a reply opens proves who sealed it; flag 2 of the
// request has it signed too, with the host's key over all before the signature, which a laptop demands of a host that it does
// not know.
//
// Clocks that differ by more than 30 s: to a request with flag 4, and to no other, a host answers with a challenge (flag 32), a
// sealed reply whose body is a cookie of 24 bytes. A request with the cookie, from the same address and in the same sweep,
// is in time for half a minute. A sweep sets flag 4 only when known hosts are missing or nobody has answered; each such
// request gets one challenge, also over a restart.
//
// # Test vectors
//
// A request, up to the end of its body (after it zeros to 1,200 bytes), and a reply:
//
//	request vector 52434c310101000000010203040506070000019e7044887b00000000000000000000000000000000
//	request vector 0000ffffc0a80107dca6320102031802123400032122232431323334414243444546474851525354
//	request vector 5556575861626364656667687172737475767778001ea601420ff00204036370692a0419075b056a
//	request vector 2f737461742f646174610601
//
//	reply vector 52434c310102000ea0a1a2a3a4a5a6a7000000000000000000010203040506070003000208092122
//	reply vector 232425262728292adca6320a0b0c00003132000041420055a5016770697a65726f32028144c0a801
//	reply vector 3205656c696e75780981747463703a2f2f3132372e302e302e313a313838330a8285646770696f60
//	reply vector 01181c4801020304050607088564686561746764733138623230020140
//
// The first 96 bytes of a ticket:
//
//	relay vector 52434c31010401010001020304050607a0a1a2a3a4a5a6a70000019e7044887b2122232400000000
//	relay vector 00000000000000000000ffffc0a8010700000000000000000000ffff0a0901040000000000000000
//	relay vector 0000ffff0a0900001000000000000000
//
// # What a hostile neighbour can still do to an open host
//
// Learn its name and services. Have it say the same, at most 20 times a minute for each address, to an MQTT broker at any port
// of a neighbour in whose name he sends (the connection carries no credentials). Have it look up names of his choosing, 20 a
// minute for each address. Use up the allowance of one laptop (250 requests a second) or of all together (1,000) by sending in
// their names; the host is then found late or not at all for as long as that goes on. He can't make it connect to a third
// party, nor send more bytes to anyone than he sent himself.
package discover
