package discover

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The dissector for Wireshark shows each field of what this package sends.
func TestWireshark(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skipf("no tshark: %v", err)
	}
	key := newKey(t, "x")
	q := question(4242, 7)
	q.Requester, q.PrefixLen, q.MAC, q.Want = question4(1, 1).Requester, 8, [6]byte{2, 0, 0, 0, 0, 7}, "pizero*"
	addressed := mustSign(t, question4(4246, 9), key, Secret{1}, Secret{2})
	host := ID{0xa0, 1, 2, 3, 4, 5, 6, 7}
	watch := question4(4244, 8)
	watch.Changed, watch.Names, watch.Filter, watch.FilterHashes = 1500*time.Millisecond, []ID{host}, []byte{0xf1, 0xf2}, 7
	plain := Reply{Host: host, Sweep: 4242, Pages: 1, Seq: 7, First: 1, Tx: 2, Delay: 33 * time.Microsecond, Flags: FlagOpen,
		Body: ReplyBody{Hostname: "pizero2"}}
	reply, err := plain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sealed := plain
	sealed.Flags, sealed.Key, sealed.Box = FlagSealed|FlagSigned, [8]byte{9}, bytes.Repeat([]byte{0xee}, 90)
	box, err := sealed.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	hello := Hello{Bye: true, Host: host, Seq: 5, Time: time.UnixMilli(1_770_000_000_123)}
	paper, err := vectorTicket().sign(key)
	if err != nil {
		t.Fatal(err)
	}
	order := sealRelay(nil, relayHead{Kind: kindOrder, Sweep: 4243, Seq: 9, Time: time.UnixMilli(5)}, []byte("x"), nonceBox(t))
	early := sealRelay(nil, relayHead{Kind: kindOrder, Early: true, Sweep: 4245, Seq: 1, Time: time.UnixMilli(5)}, []byte("x"), nonceBox(t))
	file := filepath.Join(t.TempDir(), "x.pcap")
	writePcap(t, file, withTail(mustSign(t, q, key)), mustSign(t, watch, key), withTail(addressed), reply, box, hello.marshal(key), paper, order, early, reply[:40], []byte(`{"cmd":"status"}`))
	cmd := exec.Command("tshark", "-n", "-r", file, "-X", "lua_script:../../docs/rcl1.lua", "-V")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, out)
	}
	text := string(out)
	for _, want := range []string{"Rollcall request", "Sweep: 4242", "Seq: 7", "Requester: ::ffff:127.0.0.1", "Requester's MAC: 02:00:00:00:00:07",
		"Prefix length: 8", "Group tag: ", "Signature: ", "Tail: 00", "Selector: pizero*",
		"Changed within (ms): 1500", "Hosts named: a001020304050607", "Filter: f1f2", "Hashes of the filter: 7", "Rollcall reply", "Host: a001020304050607", "First seq heard: 1",
		"Replies sent: 2", "Delay (us): 33", "pizero2", "Body, encrypted: eeee", "Rollcall hello", "Time: Feb  2, 2026 02:40:00.123000000 UTC",
		"Host's public key: ", "Rollcall relay", "Kind: ticket (1)", "Relay: ::ffff:10.9.1.4", "Network: ::ffff:10.9.0.0", "Prefix length: 16",
		"Kind: order (3)", "Sweep: 4243", "Number: 9", "Sweep: 4245", "Flags: 2", "Datagram is cut off",
		"Sweep: 4246", "Host tags: 2", "Host tag: " + hex.EncodeToString(addressed[len(addressed)-hostTagsSize(2):][:hostTagSize])} {
		if !strings.Contains(text, want) {
			t.Errorf("tshark does not show %q", want)
		}
	}
	if n := strings.Count(text, "Rollcall "); n < 9 || strings.Contains(text, "Lua Error") {
		t.Errorf("%d datagrams are Rollcall's, want 9:\n%s", n, text)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// writePcap writes UDP datagrams between port 37030 and itself as a capture file (pcap(5), link type 101: IP).
func writePcap(t *testing.T, file string, datagrams ...[]byte) {
	t.Helper()
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 101, 0, 0, 0)
	for _, d := range datagrams {
		size := 28 + len(d)
		b = append(b, make([]byte, 8)...)
		b = binary.LittleEndian.AppendUint32(b, uint32(size))
		b = binary.LittleEndian.AppendUint32(b, uint32(size))
		b = append(b, 0x45, 0, byte(size>>8), byte(size), 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 255)
		b = append(b, Port>>8, Port&0xff, Port>>8, Port&0xff, byte((size-20)>>8), byte(size-20), 0, 0)
		b = append(b, d...)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
