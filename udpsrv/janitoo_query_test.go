package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/reports/janitoo/janitootest"
	"rollcall/reports/janitoo/wire"
)

// Each request is what jnt_query has sent, and the answer is what a real server has sent, polls before it included.
func TestQueryReplay(t *testing.T) {
	t.Parallel()
	for capture, args := range map[string][]string{
		"query_location_get":  {"--hadd", "0121/0000", "--genre", "config", "--uuid", "location", "--cmdclass", "112", "--readonly", "True"},
		"query_location_set":  {"--hadd", "0121/0000", "--genre", "config", "--uuid", "location", "--data", "My computer", "--cmdclass", "112", "--type", "8", "--writeonly", "True"},
		"query_basic_load":    {"--hadd", "0121/0001", "--genre", "basic", "--uuid", "load", "--cmdclass", "49"},
		"query_load_poll_set": {"--hadd", "0121/0001", "--genre", "config", "--uuid", "load_poll", "--data", "10", "--writeonly", "True"},
	} {
		t.Run(capture, func(t *testing.T) {
			t.Parallel()
			url := bustest.Start(t)
			r := replay(t, url)
			messages := janitootest.Wire("wire/" + capture + ".wire.txt")
			asked := slices.IndexFunc(messages, func(m janitootest.Message) bool { return strings.HasSuffix(m.Topic, "/request") })
			r.value.Store(func(wire.Request) {
				poll := messages[0] // of another value
				r.Send(bus.Message{Topic: poll.Topic, Payload: poll.Payload})
				for _, m := range messages[asked+1:] {
					if strings.HasSuffix(m.Topic, "/request") {
						continue // it would be answered anew for ever
					}
					r.Send(bus.Message{Topic: m.Topic, Payload: m.Payload})
				}
			})
			out, _ := newLaptop(t).want(exitOK, append([]string{"--broker", url, "query", "--timeout", slow}, args...)...)
			want, err := wire.ParseRequest(messages[asked].Payload)
			if got := <-r.heard; err != nil || string(got.Marshal()) != string(want.Marshal()) {
				t.Errorf("query sent %s, jnt_query %s, %v", got.Marshal(), want.Marshal(), err)
			}
			_, rows := printed(out)
			_, wantRows := janitooScreen(t, capture)
			if len(rows) != 1 || len(wantRows) != 1 || strings.Join(strings.Fields(rows[0]), " ") != strings.Join(strings.Fields(strings.Replace(wantRows[0], " None The ", " The ", 1)), " ") {
				t.Errorf("query printed\n%s\nwant\n%s", out, wantRows)
			}
		})
	}
}

// A poll that lands before the answer is not taken for it; without --cmdclass the node is asked.
func TestQueryTellsAPollFromTheAnswer(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	r := replay(t, url, "0121")
	r.value.Store(func(q wire.Request) {
		r.Send(bus.Message{Topic: "/values/basic/0121/0001/load", Payload: janitootest.Capture("values/basic_0121_0001_load.json")})
		r.Send(bus.Message{Topic: "/values/basic/0121/0001/load", Payload: janitootest.Capture("values/basic_0121_0001_load.as_query_answer.json")})
	})
	l := newLaptop(t)
	out, _ := l.want(exitOK, "--broker", url, "query", "--hadd", "0121/0001", "--genre", "basic", "--uuid", "load", "--timeout", slow, "--json")
	var got []struct {
		Data      float64
		ReplyHadd string `json:"reply_hadd"`
		CmdClass  int    `json:"cmd_class"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) != 1 || got[0].ReplyHadd != "9999/9990" || got[0].CmdClass != 49 {
		t.Errorf("query printed %s, %v", out, err)
	}
	if q := <-r.heard; q.UUID != wire.InfoBasics {
		t.Errorf("the class was asked for by %s", q.UUID)
	}
	if q := <-r.heard; q.UUID != "load" || q.CmdClass == nil || *q.CmdClass != 49 {
		t.Errorf("query sent %+v", q)
	}
	raw, _ := l.want(exitOK, "--broker", url, "query", "--hadd", "0121/0001", "--genre", "basic", "--uuid", "load", "--cmdclass", "sensor_multilevel", "--index", "0", "--timeout", slow, "--output", "raw")
	if want := "/values/basic/0121/0001/load " + string(janitootest.Capture("values/basic_0121_0001_load.as_query_answer.json")) + "\n"; raw != want {
		t.Errorf("--output raw printed %s, want %s", raw, want)
	}
	if _, errs := l.want(exitFail, "--broker", url, "query", "--hadd", "0121/0001", "--genre", "basic", "--uuid", "nothere", "--timeout", slow); errs != "udpsrv: 0121/0001 has no basic value nothere\n" {
		t.Errorf("query of nothing says %q", errs)
	}
}

func TestQueryErrors(t *testing.T) {
	t.Parallel()
	url := bustest.Start(t)
	r := replay(t, url)
	l := newLaptop(t)
	args := []string{"--broker", url, "query", "--hadd", "0121/0001", "--uuid", "temperature", "--cmdclass", "49", "--timeout", "2s"}
	if out, errs := l.want(exitFail, args...); out != "" || !strings.HasPrefix(errs, "udpsrv: no answer from 0121/0001 about user value temperature within 2s: ") {
		t.Errorf("query without an answer says %q", errs)
	}
	r.value.Store(func(q wire.Request) {
		for _, b := range []string{"x", `{"uuid":"temperature"}`, `{"0":5}`, `{"uuid":"temperature","hadd":"0121/0001","reply_hadd":"9999/9990","data":null,"genre":2,"cmd_class":49,"help":null,"error":"no \u001b[2J sensor"}`} {
			r.Send(bus.Message{Topic: "/values/user/0121/0001/temperature", Payload: []byte(b)})
		}
	})
	if out, errs := l.want(exitFail, append(args, "--timeout", slow)...); out != "" || errs != "udpsrv: 0121/0001 temperature: no \\x1b[2J sensor\n" {
		t.Errorf("query of a value that has failed printed %q and %q", out, errs)
	}
}
