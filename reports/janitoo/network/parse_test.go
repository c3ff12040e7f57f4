package network

import (
	"fmt"
	"slices"
	"testing"

	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// same compares what parseReply makes of a reply with what wire.ParseReply makes of it.
func same(t *testing.T, b []byte) {
	t.Helper()
	r, ok := parseReply(b)
	w, err := wire.ParseReply(b)
	if err != nil && ok && len(r.nodes)+len(r.values) > 0 {
		t.Fatalf("%.300q is read, but is no reply: %v", b, err)
	}
	if err != nil || !ok {
		return
	}
	var got, want []string
	for _, v := range r.values {
		got = append(got, fmt.Sprint(v.hadd, v.key.uuid, v.key.index))
		if _, ok := read(v.raw); !ok {
			t.Errorf("%s can't be read again", v.raw)
		}
	}
	genre, _ := wire.InfoGenre(w.UUID)
	for _, v := range w.Values {
		want = append(want, fmt.Sprint(v.Hadd, v.UUID, v.Index))
	}
	slices.Sort(got)
	slices.Sort(want)
	if r.info != w.UUID || len(r.nodes) != len(w.Nodes) || !slices.Equal(slices.Compact(got), slices.Compact(want)) {
		t.Errorf("%s (genre %d): %d nodes, values %q, want %d, %q", r.info, genre, len(r.nodes), got, len(w.Nodes), want)
	}
}

func TestParseReply(t *testing.T) {
	t.Parallel()
	for _, name := range janitootest.Captures("replies/*.json") {
		b := janitootest.Capture(name)
		same(t, b)
		if r, ok := parseReply(b); !ok || len(r.nodes)+len(r.values) == 0 {
			t.Errorf("%s: %v, %d nodes, %d values", name, ok, len(r.nodes), len(r.values))
		}
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"uuid":"request_info_users"}`, `{"uuid":"request_info_users","data":[]}`, `{"uuid":"load","data":{}}`, `{"uuid":7,"data":{}}`} {
		if r, ok := parseReply([]byte(bad)); ok {
			t.Errorf("parseReply(%s) = %+v", bad, r)
		}
	}
	r, ok := parseReply([]byte(`{"uuid":"request_info_users","hadd":"0121/0000","chunk":3,"chunks":7,"data":{"0121/0001":7,"0121/0002":{"a":[],"b":{"uuid":"b"},
		"c":{"uuid":"c","hadd":"0121/0002","index":"2"},"d":{"5":{"uuid":"d","hadd":"0121/0002"},"x":{"uuid":"d","hadd":"0121/0002"}}}}}`))
	var got []string
	for _, v := range r.values {
		got = append(got, fmt.Sprintf("%s/%s/%d", v.hadd, v.key.uuid, v.key.index))
	}
	slices.Sort(got)
	if !ok || r.asked != "0121/0000" || r.chunk != 3 || r.chunks != 7 || !slices.Equal(got, []string{"0121/0002/c/2", "0121/0002/d/5"}) {
		t.Errorf("of a reply with mistakes there is %+v, %q", r, got)
	}
}

// FuzzParseReply looks for a panic, and for values that are read here and not there.
func FuzzParseReply(f *testing.F) {
	for _, name := range janitootest.Captures("replies/broadcast_1118_*.json") {
		f.Add(janitootest.Capture(name))
	}
	f.Add([]byte(`{"uuid":"request_info_basics","data":{"0121/0001":{"load":{"0":{"uuid":"load","hadd":"0121/0001","index":0},"1":{"uuid":"load","hadd":"0121/0001"}}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseReply(b)
		for _, v := range r.values {
			if !ok || !v.hadd.Valid() || v.key.uuid == "" || len(v.key.uuid) > wire.MaxUUID || len(v.raw) > wire.MaxRequest {
				t.Errorf("value %+v", v)
			}
		}
	})
}
