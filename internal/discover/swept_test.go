package discover

import (
	"fmt"
	"net"
	"testing"
	"time"

	"rollcall/reports"
)

// A request that this machine has broadcast is told of as a sweep; one that it has asked a single host is not.
func TestSweptTellsBroadcastsOnly(t *testing.T) {
	t.Parallel()
	swept := make(chan reports.ID, 10)
	b := startBed(t, "0.0.0.0:0", testHost(1, "pi1"), func(c *ResponderConfig) { c.Swept = func(id reports.ID) { swept <- id } })
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, to := range []string{"127.0.0.1", "127.255.255.255"} {
		at := &net.UDPAddr{IP: net.ParseIP(to), Port: int(b.addr.Port())}
		original := fmt.Sprintf(`{"cmd":"status","replyto":"127.0.0.1","topic":"/x","id":%d}`, 100+i)
		sealed := mustMarshal(t, Request{Sweep: uint64(200 + i), Seq: 1, Time: time.Now(), Copies: 1})
		for _, d := range [][]byte{[]byte(original), sealed} {
			if _, err := conn.WriteToUDP(d, at); err != nil {
				t.Fatal(err)
			}
			b.next()
		}
	}
	got := []reports.ID{<-swept, <-swept}
	if got[0] != "101" || got[1] != "201" || len(swept) > 0 {
		t.Errorf("swept tells of %v and %d more, want 101 and 201", got, len(swept))
	}
}
