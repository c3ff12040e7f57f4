package discover

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// readByLibrary reads the body of a reply with another decoder than ours.
func readByLibrary(raw []byte) (b ReplyBody, err error) {
	mode := must(decodeOptions(cbor.ExtraDecErrorNone).DecMode())
	var in replyBody
	if err := decode(mode, raw, &in); err != nil {
		return b, err
	}
	b = ReplyBody{Hostname: in.Hostname, ExtAddr: in.ExtAddr, Model: in.Model, OS: in.OS, Arch: in.Arch, Version: in.Version,
		BootID: in.BootID, Brokers: in.Brokers}
	for _, raw := range in.Addrs {
		a, _ := netip.AddrFromSlice(raw)
		b.Addrs = append(b.Addrs, a)
	}
	for i, raw := range in.Services {
		if int(raw.Status) >= len(statuses) {
			return b, fmt.Errorf("service status %d is not known", raw.Status)
		}
		s := Service{Name: raw.Name, Function: raw.Function, Status: statuses[raw.Status], Points: int(raw.Points), Simulated: in.Simulated>>i&1 == 1}
		if s.Function == "" {
			s.Function = s.Name
		}
		copy(s.Digest[:], raw.Digest)
		b.Services = append(b.Services, s)
	}
	return b, nil
}

// FuzzReplyBody reads any body: what is taken means to another CBOR decoder what it means to ours, can be written again, and
// keeps nothing of the buffer.
func FuzzReplyBody(f *testing.F) {
	good, err := vectorReply().Body.marshal(0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, byte(0))
	for _, s := range []string{"a0", "a10a80", "a10a818561616001004401020304", "a201627069186381a10183f6fb400921fb54442d1841ff", "a2016270690b1bffffffffffffffff",
		"a20162706909816b7463703a2f2f613a31383833", "a2016270690281440a000001", "a3016270691ba230303030303030300b1b3030303030303030", "a201627069036731302e302e302e31"} {
		raw, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, byte(len(s)%2))
	}
	f.Fuzz(func(t *testing.T, raw []byte, page byte) {
		buf := append([]byte{}, raw...)
		var got, again ReplyBody
		m := newTray(2)
		if got.unmarshal(buf, page, m) != nil {
			return
		}
		if err := again.unmarshal(buf, page, m); err != nil {
			t.Fatalf("%x is refused the second time: %v", raw, err)
		}
		want, err := readByLibrary(raw)
		clear(buf)
		for _, got := range []ReplyBody{got, again} {
			if d := cmp.Diff(want, got, byValue); err != nil || d != "" {
				t.Fatalf("another decoder reads %x as %v, (-want +got):\n%s", raw, err, d)
			}
		}
		if _, err := got.marshal(page); err != nil {
			t.Fatalf("marshal(%+v): %v", got, err)
		}
	})
}

// TestSweepKey compares the key of a sweep with that of crypto/hkdf.
func TestSweepKey(t *testing.T) {
	t.Parallel()
	op, host := newKey(t, "op"), newKey(t, "host")
	common, err := op.Shared(public(host))
	if err != nil {
		t.Fatal(err)
	}
	want, err := hkdf.Key(sha256.New, common, []byte("rollcall RCL1 pair"+string(public(op))+string(public(host))),
		"rollcall RCL1 reply"+string(binary.BigEndian.AppendUint64(nil, 1<<50+7)), 32)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]func() (Secret, error){
		"operator's": func() (Secret, error) { return share(op, public(host), public(op), public(host)) },
		"host's":     func() (Secret, error) { return share(host, public(op), public(op), public(host)) },
	} {
		secret, err := s()
		if got := secret.sweepKey(1<<50 + 7); err != nil || string(got[:]) != string(want) {
			t.Errorf("%s key = %x, %v, want %x", name, got, err, want)
		}
	}
	// What is sealed in the other direction has another key.
	if s, err := share(op, public(host), public(host), public(op)); err != nil || s.sweepKey(1<<50+7) == [32]byte(want) {
		t.Errorf("key of the other direction is the same, or %v", err)
	}
}

// TestMAC compares with crypto/hmac.
func TestMAC(t *testing.T) {
	t.Parallel()
	long := []byte(strings.Repeat("0123456789", 30))
	for _, key := range []int{0, 1, 32, 49, 63, 64, 65, 200} {
		for _, text := range []int{0, 1, 27, 63, 64, 102, 127, 128, 129, 300} {
			h := hmac.New(sha256.New, long[:key])
			h.Write(long[:text])
			if got := mac256(long[:key], long[:text]); !hmac.Equal(got[:], h.Sum(nil)) {
				t.Errorf("mac256() with a key of %d and a text of %d bytes is another than crypto/hmac's", key, text)
			}
		}
	}
}

// TestPlainTexts: the short ways of judging texts come to what the long ones come to.
func TestPlainTexts(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "Raspberry Pi", strings.Repeat("x", maxText), strings.Repeat("x", maxText+1), "é", strings.Repeat("é", 25), "\x7f", "a\x00", "\xff", "\u202e"} {
		if got, want := showable(s), clean(s) == s; got != want {
			t.Errorf("showable(%q) = %v, want %v", s, got, want)
		}
	}
	for _, s := range []string{"tcp://pi:1883", "mqtts://10.0.0.1:8883", "ws://pi.local", "tcp://pi:", "mqtt://:1", "TCP://pi", "tcp://[::1]:1", "tcp://u@pi", "tcp://pi/x",
		"tcp://pi:1x", "tcp://", "tcp:/pi", "file://pi", "tcp://pi?x", "tcp://p_i", "tcp://pi:1:2", "tcp://-:65536"} {
		host, ok := plainBroker(s)
		if want, err := brokerByURL(s); ok && (err != nil || host != want) {
			t.Errorf("plainBroker(%q) = %q, want %q, %v", s, host, want, err)
		}
	}
	if _, ok := plainBroker("mqtts://10.0.0.1:8883"); !ok {
		t.Error("plainBroker() does not take what nearly all are")
	}
}
