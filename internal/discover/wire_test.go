package discover

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"rollcall/reports"
)

// byValue compares what parsing returns.
var byValue = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// vectorRequest and vectorReply are what the test vectors of doc.go encode; every field differs from its neighbours.
func vectorRequest() Request {
	return Request{Sweep: 0x0001020304050607, Time: time.UnixMilli(1_780_000_000_123).UTC(), Requester: netip.MustParseAddr("192.168.1.7"),
		MAC: [6]byte{0xdc, 0xa6, 0x32, 0x01, 0x02, 0x03}, PrefixLen: 24, Copies: 2, ReplyPort: 0x1234, Round: 3, Seq: 0x21222324,
		Window: 0x31323334 * time.Microsecond, Sample: 0x4142434445464748, Lo: 0x5152535455565758, Hi: 0x6162636465666768,
		Salt: 0x7172737475767778, Filter: []byte{0x0f, 0xf0}, FilterHashes: 4, Want: "pi*", BrokerPort: 1883, Topic: "/stat/data", Page: 1}
}

func vectorReply() Reply {
	return Reply{Flags: FlagOpen | FlagLoopbackOnly | FlagNoNeighbour, Host: ID{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7},
		Sweep: 0x0001020304050607, Round: 3, Page: 0, Pages: 2, Edition: 0x0809, Seq: 0x21222324, First: 0x25262728, Tx: 0x292a,
		MAC: [6]byte{0xdc, 0xa6, 0x32, 0x0a, 0x0b, 0x0c}, Delay: 0x3132 * time.Microsecond, Age: 0x4142 * time.Second,
		Body: ReplyBody{Hostname: "pizero2", Addrs: []netip.Addr{netip.MustParseAddr("192.168.1.50")}, OS: "linux",
			Brokers: []string{"tcp://127.0.0.1:1883"},
			Services: []Service{{Name: "gpio", Function: "gpio", Status: reports.Online, Points: 28, Digest: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}},
				{Name: "heat", Function: "ds18b20", Status: reports.Offline, Points: 1}}}}
}

// documented returns the vector of doc.go and the value that each row of its field table has in it, by the row's first words.
func documented(t *testing.T, form string) (vector []byte, fields map[string]string, end int) {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^//\t`+form+` vector ([0-9a-f]+)$`).FindAllStringSubmatch(string(doc), -1) {
		text.WriteString(m[1])
	}
	if vector, err = hex.DecodeString(text.String()); err != nil || len(vector) == 0 {
		t.Fatalf("doc.go has no vector of a %s: %v", form, err)
	}
	fields = map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^//\t`+form+`: +(\d+) +(\d+)  (.*)$`).FindAllStringSubmatch(string(doc), -1) {
		at, _ := strconv.Atoi(m[1]) // digits, by the expression
		size, _ := strconv.Atoi(m[2])
		if at != end {
			t.Errorf("%s: %q stands at %d, the field before it ends at %d", form, m[3], at, end)
		}
		end = at + size
		name, _, _ := strings.Cut(m[3], ":")
		name, _, _ = strings.Cut(name, ";")
		name, _, _ = strings.Cut(name, ",")
		fields[name] = hex.EncodeToString(vector[at:end])
	}
	return vector, fields, end
}

func TestDocumentedRequest(t *testing.T) {
	t.Parallel()
	vector, fields, end := documented(t, "request")
	if end != requestHeader {
		t.Errorf("documented fields end at %d, want %d", end, requestHeader)
	}
	want := map[string]string{`magic "RCL1"`: "52434c31", "version": "01", "type": "01", "flags": "0000",
		"sweep id": "0001020304050607", "time": "0000019e7044887b", "operator key id": "0000000000000000",
		"requester's address": "00000000000000000000ffffc0a80107", "requester's MAC on this interface": "dca632010203",
		"length of its network's prefix": "18", "copies of each reply": "02", "port for the reply": "1234", "round": "0003",
		"seq": "21222324", "window over which replies are spread": "31323334", "sample": "4142434445464748",
		"range": "6162636465666768", "salt of the hashes": "7172737475767778", "length of the body": "001e"}
	if d := cmp.Diff(want, fields); d != "" {
		t.Errorf("fields of the vector (-want +got):\n%s", d)
	}
	padded := append(bytes.Clone(vector), make([]byte, MinRequest-len(vector))...)
	if got := mustMarshal(t, vectorRequest()); !bytes.Equal(got, padded) {
		t.Errorf("Marshal() = %x\nwant %x", bytes.TrimRight(got, "\x00"), vector)
	}
	got, err := ParseRequest(padded)
	if d := cmp.Diff(vectorRequest(), got, byValue); err != nil || d != "" {
		t.Errorf("ParseRequest() error = %v, (-want +got):\n%s", err, d)
	}
}

func TestDocumentedReply(t *testing.T) {
	t.Parallel()
	vector, fields, end := documented(t, "reply")
	if end != replyHeader {
		t.Errorf("documented fields end at %d, want %d", end, replyHeader)
	}
	want := map[string]string{`magic "RCL1"`: "52434c31", "version": "01", "type": "02", "flags": "000e",
		"host id": "a0a1a2a3a4a5a6a7", "host key id": "0000000000000000", "sweep id": "0001020304050607", "round": "0003",
		"page": "00", "pages": "02", "edition": "0809", "seq of the request answered": "21222324",
		"first seq heard in this sweep": "25262728", "replies sent in this sweep": "292a", "MAC of the interface that answers": "dca6320a0b0c",
		"delay since the request came": "00003132", "age of the host's monitor": "00004142", "length of the body": "0055"}
	if d := cmp.Diff(want, fields); d != "" {
		t.Errorf("fields of the vector (-want +got):\n%s", d)
	}
	if got, err := vectorReply().Marshal(); err != nil || !bytes.Equal(got, vector) {
		t.Errorf("Marshal() = %x, %v\nwant %x", got, err, vector)
	}
	got, err := ParseReply(vector)
	if d := cmp.Diff(vectorReply(), got, byValue); err != nil || d != "" {
		t.Errorf("ParseReply() error = %v, (-want +got):\n%s", err, d)
	}
}

// Who does not know that services may be simulated reads the reply as one without that word, and who does reads a reply without it.
func TestSimulatedIsAnAddition(t *testing.T) {
	t.Parallel()
	plain, marked := vectorReply().Body, vectorReply().Body
	marked.Services = slices.Clone(plain.Services)
	marked.Services[1].Simulated = true
	raw, err := marked.marshal(0)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[int]cbor.RawMessage
	if err := cbor.Unmarshal(raw, &keys); err != nil {
		t.Fatal(err)
	}
	const simulated = 11
	if got := hex.EncodeToString(keys[simulated]); got != "02" {
		t.Errorf("key %d is %s, want 02", simulated, got)
	}
	delete(keys, simulated)
	old, err := encoding.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := plain.marshal(0); err != nil || !bytes.Equal(old, want) {
		t.Errorf("without the key the body is %x, %v, want %x", old, err, want)
	}
	for want, b := range map[bool][]byte{true: raw, false: old} {
		var got ReplyBody
		if err := got.unmarshal(b, 0, newTray(1)); err != nil || got.Services[0].Simulated || got.Services[1].Simulated != want {
			t.Errorf("unmarshal = %+v, %v, want the second simulated: %v", got.Services, err, want)
		}
	}
}

func drawRequest(t *rapid.T) Request {
	u64 := rapid.Uint64()
	q := Request{Sweep: rapid.Uint64Range(1, maxSweep).Draw(t, "sweep"), Seq: rapid.Uint32Min(1).Draw(t, "seq"),
		Time:  time.UnixMilli(rapid.Int64Range(0, maxMillis).Draw(t, "ms")).UTC(),
		Round: rapid.Uint16().Draw(t, "round"), Copies: rapid.Byte().Draw(t, "copies"), ReplyPort: rapid.Uint16().Draw(t, "port"),
		Window: time.Duration(rapid.Uint32().Draw(t, "window")) * time.Microsecond, Sample: u64.Draw(t, "sample"),
		Lo: u64.Draw(t, "lo"), Hi: u64.Draw(t, "hi"), Salt: u64.Draw(t, "salt"),
		Want: rapid.StringMatching(`[a-z*?_-]{0,64}`).Draw(t, "want"), Page: rapid.ByteMax(maxPages-1).Draw(t, "page")}
	q.Filter = rapid.SliceOfN(rapid.Byte(), 0, 900).Draw(t, "filter")
	if len(q.Filter) > 0 {
		q.FilterHashes = rapid.ByteMin(1).Draw(t, "hashes")
	}
	if rapid.Bool().Draw(t, "broker") {
		q.BrokerPort, q.Topic = rapid.Uint16Min(1).Draw(t, "broker port"), rapid.StringMatching(`/[a-zé]{1,30}`).Draw(t, "topic")
	}
	if rapid.Bool().Draw(t, "signed") {
		q.Signed = true
		binary.BigEndian.PutUint64(q.Operator[:], rapid.Uint64Min(1).Draw(t, "operator"))
		q.Signature[63] = rapid.Byte().Draw(t, "signature")
	}
	if q.Signed && len(q.Filter) == 0 && rapid.Bool().Draw(t, "host tags") {
		q.HostTags = rapid.IntRange(1, maxHostTags).Draw(t, "hosts")
	}
	switch rapid.IntRange(0, 2).Draw(t, "family") {
	case 1:
		q.Requester = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.ByteMin(1), 4, 4).Draw(t, "v4")))
		q.PrefixLen = rapid.ByteMax(32).Draw(t, "prefix")
	case 2:
		q.Requester = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.ByteMin(1), 16, 16).Draw(t, "v6")))
		q.PrefixLen = rapid.ByteMax(128).Draw(t, "prefix")
	}
	return q
}

func TestRequestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawRequest(t)
		b, err := want.Marshal()
		if err != nil {
			t.Fatalf("Marshal(%+v) error = %v", want, err)
		}
		if len(b) < MinRequest || len(b) > MaxRequest {
			t.Fatalf("Marshal() has %d bytes", len(b))
		}
		addHostTags(b, make([]Secret, want.HostTags))
		got, err := ParseRequest(b)
		if d := cmp.Diff(want, got, byValue); err != nil || d != "" {
			t.Fatalf("ParseRequest(Marshal()) error = %v, (-want +got):\n%s", err, d)
		}
	})
}

func TestReplyRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~]{0,20}`)
		want := vectorReply()
		want.Pages = rapid.ByteRange(1, maxPages).Draw(t, "pages")
		want.Page = rapid.ByteMax(want.Pages-1).Draw(t, "page")
		want.Body = ReplyBody{}
		for range rapid.IntRange(0, 12).Draw(t, "services") {
			want.Body.Services = append(want.Body.Services, Service{
				Name: rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(t, "name"), Function: rapid.StringMatching(`[a-z]{1,9}`).Draw(t, "function"),
				Status: rapid.SampledFrom(statuses[:]).Draw(t, "status"), Points: rapid.IntRange(0, maxPoints).Draw(t, "points"),
				Simulated: rapid.Bool().Draw(t, "simulated")})
		}
		if want.Page == 0 {
			want.Body.Hostname, want.Body.Model, want.Body.BootID = "pi", text.Draw(t, "model"), text.Draw(t, "boot")
		}
		if rapid.Bool().Draw(t, "signed") {
			want.Flags |= FlagSigned
			want.Key[0], want.Signature[5] = 1, 7
		}
		if rapid.Bool().Draw(t, "sealed") {
			want.Flags |= FlagSealed
			want.Key[0] = 1
			want.Body, want.Box = ReplyBody{}, rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "box")
		}
		b, err := want.Marshal()
		if err != nil {
			t.Fatalf("Marshal() error = %v", err)
		}
		got, err := ParseReply(b)
		if d := cmp.Diff(want, got, byValue); err != nil || d != "" {
			t.Fatalf("ParseReply(Marshal()) error = %v, (-want +got):\n%s", err, d)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	for _, q := range []Request{question(1, 1), vectorRequest()} {
		b, err := q.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.TrimRight(b, "\x00"))
	}
	f.Add(mustSign(f, question(1, 1), newKey(f, "op"), Secret{1}, Secret{2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < MinRequest { // the padding is not worth the fuzzer's time
			b = append(bytes.Clone(b), make([]byte, MinRequest-len(b))...)
		}
		if n, err := hostTagsOf(b); err == nil && b[7]&flagHostTags != 0 { // no fuzzer finds their hash
			b = bytes.Clone(b)
			addHostTags(b, make([]Secret, n))
		}
		q, err := ParseRequest(b)
		if err != nil {
			return
		}
		again, err := q.Marshal()
		if err != nil {
			t.Fatalf("Marshal(%+v) error = %v", q, err)
		}
		addHostTags(again, make([]Secret, q.HostTags))
		back, err := ParseRequest(again)
		if d := cmp.Diff(q, back, byValue); err != nil || d != "" {
			t.Fatalf("ParseRequest(Marshal()) error = %v:\n%s", err, d)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	b, err := vectorReply().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:replyHeader])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReply(b)
		if err != nil {
			return
		}
		again, err := r.Marshal()
		if errors.Is(err, errTooLong) {
			return // what was read with longer encodings than ours, or up to a request's length
		}
		if err != nil {
			t.Fatalf("Marshal(%+v) error = %v", r, err)
		}
		back, err := ParseReply(again)
		if d := cmp.Diff(r, back, byValue); err != nil || d != "" {
			t.Fatalf("ParseReply(Marshal()) error = %v:\n%s", err, d)
		}
	})
}
