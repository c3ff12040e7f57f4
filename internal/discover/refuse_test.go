package discover

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// edit returns a copy of b in which the bytes at an offset are others.
func edit(b []byte, at int, with ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], with)
	return b
}

// withBody returns the datagram with another body, given in hex.
func withBody(t *testing.T, b []byte, header int, body string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	out := append(bytes.Clone(b[:header]), raw...)
	binary.BigEndian.PutUint16(out[header-2:], uint16(len(raw)))
	if header == requestHeader {
		out = append(out, make([]byte, MinRequest-len(out))...)
	}
	return out
}

func TestParseRequestRefuses(t *testing.T) {
	t.Parallel()
	good := mustMarshal(t, question(7, 1))
	deep := strings.Repeat("81", 60) + "00"
	tests := []struct {
		name string
		b    []byte
		want string // in the error
	}{
		{"nothing", nil, "request has 0 bytes"},
		{"one byte", good[:1], "request has 1 bytes"},
		{"header only", good[:requestHeader], "request has 102 bytes"},
		{"one byte short of padded", good[:MinRequest-1], "request has 1199 bytes"},
		{"too long", append(bytes.Clone(good), make([]byte, MaxRequest)...), "datagram is too long"},
		{"other magic", edit(good, 0, 'X'), "request does not start with RCL1"},
		{"version 2", edit(good, 4, 2), "is not known"},
		{"type reply", edit(good, 5, typeReply), "is not known"},
		{"unknown flag", edit(good, 6, 0x80), "is not known"},
		{"sweep 0", edit(good, 8, 0, 0, 0, 0, 0, 0, 0, 0), "sweep id 0 is not between 1 and 2^53-1"},
		{"sweep 2^53", edit(good, 8, 0, 0x20, 0, 0, 0, 0, 0, 0), "sweep id 9007199254740992 is not between 1 and 2^53-1"},
		{"time beyond all", edit(good, 16, 0xff), "request is from a time that can't be"},
		{"key without flag", edit(good, 24, 1), "request must have a key and the flag that says so, or neither"},
		{"flag without key", edit(good, 7, 1), "request must have a key and the flag that says so, or neither"},
		{"signature without flag", edit(good, MinRequest-1, 1), "unsigned request has a signature"},
		{"prefix too long", edit(good, 54, 129), "prefix length 129 is too long"},
		{"seq 0", edit(good, 60, 0, 0, 0, 0), "request has no sequence number"},
		{"body longer than datagram", edit(good, 100, 0xff, 0xff), "request's body of 65535 bytes does not fit"},
		{"body into signature", edit(good, 100, 0x04, 0x0b), "request's body of 1035 bytes does not fit"},
		{"padding", edit(good, 600, 1), "request's padding is not zero"},
		{"no body", withBody(t, good, requestHeader, ""), "body is not a CBOR map"},
		{"body null", withBody(t, good, requestHeader, "f6"), "body is not a CBOR map"},
		{"body list", withBody(t, good, requestHeader, "80"), "body is not a CBOR map"},
		{"unknown key", withBody(t, good, requestHeader, "a1181900"), "found unknown field"},
		{"key twice", withBody(t, good, requestHeader, "a206010602"), "found duplicate map key 6"},
		{"indefinite map", withBody(t, good, requestHeader, "bfff"), "indefinite-length map isn't allowed"},
		{"indefinite text", withBody(t, good, requestHeader, "a1037f6161ff"), "indefinite-length UTF-8 text string isn't allowed"},
		{"tag", withBody(t, good, requestHeader, "a106c101"), "CBOR tag isn't allowed"},
		{"wrong type", withBody(t, good, requestHeader, "a10301"), "cannot unmarshal positive integer into"},
		{"bytes behind", withBody(t, good, requestHeader, "a000"), "1 bytes of extraneous data"},
		{"nested deep", withBody(t, good, requestHeader, "a101"+deep), "exceeded max nested level 4"},
		{"huge list announced", withBody(t, good, requestHeader, "a1019affffffff"), "exceeded max number of elements 64 for CBOR array"},
		{"huge text announced", withBody(t, good, requestHeader, "a1037affffffff"), "unexpected EOF"},
		{"text not UTF-8", withBody(t, good, requestHeader, "a10361ff"), "invalid UTF-8 string"},
		{"page 64", withBody(t, good, requestHeader, "a1061840"), "page 64 is beyond the last possible, 63"},
		{"pattern with slash", withBody(t, good, requestHeader, "a103612f"), `pattern "/"`},
		{"broker without topic", withBody(t, good, requestHeader, "a10419075b"), "broker port and topic go together"},
		{"topic without broker", withBody(t, good, requestHeader, "a105622f61"), "broker port and topic go together"},
		{"topic with wildcard", withBody(t, good, requestHeader, "a20419075b05622f23"), `topic "/#" has a wildcard`},
		{"topic below $", withBody(t, good, requestHeader, "a20419075b05632453"+"59"), `topic "$SY" is reserved to the broker`},
		{"filter without hashes", withBody(t, good, requestHeader, "a1014101"), "filter and its number of hashes go together"},
		{"port too great", withBody(t, good, requestHeader, "a2041a0001000005622f61"), "cannot unmarshal positive integer into"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseRequest(tt.b)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseRequest(%x) = %+v, %v, want error %q", bytes.TrimRight(tt.b, "\x00"), got, err, tt.want)
			}
		})
	}
	if _, err := ParseRequest(good); err != nil {
		t.Errorf("ParseRequest() of the untouched request: %v", err)
	}
}

func TestParseReplyRefuses(t *testing.T) {
	t.Parallel()
	plain := vectorReply()
	plain.Pages = 1
	plain.Body = ReplyBody{Hostname: "pi"}
	good, err := plain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	body := func(key string) []byte { return withBody(t, good, replyHeader, "a2016270690"+key) }
	service := func(s string) []byte { return body("a81" + s) }
	many := strings.Repeat("8561616001"+"0040", 65)
	tests := []struct {
		name string
		b    []byte
		want string // in the error
	}{
		{"nothing", nil, "reply has 0 bytes"},
		{"cut header", good[:replyHeader-1], "reply has 63 bytes"},
		{"cut body", good[:len(good)-1], "reply's body has 4 bytes"},
		{"bytes behind", append(bytes.Clone(good), 0), "reply's body has 6 bytes"},
		{"too long", append(bytes.Clone(good), make([]byte, MaxRequest)...), "datagram is too long"},
		{"type request", edit(good, 5, typeRequest), "is not known"},
		{"version 9", edit(good, 4, 9), "is not known"},
		{"unknown flag", edit(good, 6, 0x80), "is not known"},
		{"signature cut off", edit(good, 7, byte(FlagSigned)), "reply's signature is cut off"},
		{"signed without key", append(edit(good, 7, byte(FlagSigned)), make([]byte, signatureSize)...), "sealed or signed reply names no key"},
		{"sealed without key", edit(good, 7, byte(FlagSealed)), "sealed or signed reply names no key"},
		{"no host id", edit(good, 8, 0, 0, 0, 0, 0, 0, 0, 0), "reply has no host id"},
		{"sweep 0", edit(good, 24, 0, 0, 0, 0, 0, 0, 0, 0), "sweep id 0 is not between 1 and 2^53-1"},
		{"page beyond", edit(good, 34, 1, 1), "reply is page 1 of 1"},
		{"no pages", edit(good, 34, 0, 0), "reply is page 0 of 0"},
		{"65 pages", edit(good, 34, 0, 65), "reply is page 0 of 65"},
		{"second page with a host", edit(good, 34, 1, 2), "a page after the first tells of services only"},
		{"no host name", withBody(t, good, replyHeader, "a0"), `name ""`},
		{"host name with escape", withBody(t, good, replyHeader, "a101631b5b6d"), `name "\x1b[m"`},
		{"host name with slash", withBody(t, good, replyHeader, "a10163612f62"), `name "a/b"`},
		{"address of 5 bytes", body("281450102030405"[:15]), "address of 5 bytes"},
		{"address in mapped form", body("2815000000000000000000000ffffc0a80132"), "address of 16 bytes"},
		{"public address is none", body("3613f"), `public address "?" is none`},
		{"model with newline", body("4620a41"), `text "\nA" is too long or can't be shown`},
		{"model with bidirectional mark", body("463e280ae"), `text "\u202e" is too long or can't be shown`},
		{"model too long", body("47831" + strings.Repeat("41", 49)), `text "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" is too long or can't be shown`},
		{"broker no URL", body("98163613a62"), `broker "a:b": scheme is none of a broker's`},
		{"broker file", body("98168" + hex.EncodeToString([]byte("file:///x"))[:16]), `broker "file:///": scheme is none of a broker's`},
		{"broker with user", body("9816d" + hex.EncodeToString([]byte("tcp://u:p@h:1"))), `broker "tcp://u:p@h:1" must have a host, and no user, query or fragment`},
		{"broker with escape", body("98168" + hex.EncodeToString([]byte("tcp://\x1b["))), `broker "tcp://\x1b[" is no URL`},
		{"five brokers", body("985" + strings.Repeat("677463703a2f2f61", 5)), "key 9: 5 elements are too many"},
		{"nine addresses", body("289" + strings.Repeat("440a000001", 9)), "key 2: 9 elements are too many"},
		{"service of two", service("826161" + "60"), "key 10: service of 2 fields"},
		{"service that is a map", service("a1010285"), "there is something else where a list belongs"},
		{"service cut off", service("8561616001"), "body is cut off"},
		{"status beyond all", service("8561616018ff0040"), "service status 255 is not known"},
		{"service with bad name", service("85612f60010040"), `name "/"`},
		{"service with bad function", service("856161612001" + "0040"), `name " "`},
		{"status 3", service("85616160030040"), "service status 3 is not known"},
		{"digest of one byte", service("8561616001004101"), "digest of 1 bytes"},
		{"points negative", service("85616160012040"), "there is something else where a number belongs"},
		{"points beyond all", service("85616160011bffffffffffffffff40"), "has 18446744073709551615 points"},
		{"points too many", service("85616160011a0010000140"), `service "a" has 1048577 points`},
		{"65 services", withBody(t, good, replyHeader, "a2016270690a9841"+many), "key 10: 65 elements are too many"},
		{"list longer than the body", withBody(t, good, replyHeader, "a2016270690a9840"), "key 10: body is cut off"},
		{"key twice", withBody(t, good, replyHeader, "a201627069016270"+"69"), "key 1 stands there twice"},
		{"unknown key twice", withBody(t, good, replyHeader, "a3016270691863001863"+"00"), "key 99 stands there twice"},
		{"no body", withBody(t, good, replyHeader, ""), "body is cut off"},
		{"body null", withBody(t, good, replyHeader, "f6"), "where a map belongs"},
		{"body list", withBody(t, good, replyHeader, "80"), "where a map belongs"},
		{"indefinite map", withBody(t, good, replyHeader, "bfff"), "length is not definite"},
		{"17 keys", withBody(t, good, replyHeader, "b1"), "17 keys are too many"},
		{"text for a key", withBody(t, good, replyHeader, "a2016270696161"+"00"), "a whole number for a key"},
		{"bytes behind the map", withBody(t, good, replyHeader, "a10162706900"), "1 bytes stand behind the map"},
		{"host name null", withBody(t, good, replyHeader, "a101f6"), "where a text belongs"},
		{"host name indefinite", withBody(t, good, replyHeader, "a1017f6161ff"), "length is not definite"},
		{"host name not UTF-8", withBody(t, good, replyHeader, "a10161ff"), "name \"\\xff\""},
		{"model not UTF-8", body("461ff"), "text \"\\xff\""},
		{"huge text announced", withBody(t, good, replyHeader, "a1017affffffff"), "body is cut off"},
		{"simulated no number", withBody(t, good, replyHeader, "a2016270690b6161"), "key 11: there is something else"},
		{"unknown key with a tag", withBody(t, good, replyHeader, "a2016270691863c101"), "key 99: it has a tag"},
		{"unknown key with text not UTF-8", withBody(t, good, replyHeader, "a201627069186361ff"), "key 99: text is not UTF-8"},
		{"unknown key nested deep", withBody(t, good, replyHeader, "a20162706918638181818100"), "key 99: it holds too much"},
		{"unknown key cut off", withBody(t, good, replyHeader, "a201627069186342"), "key 99: body is cut off"},
		{"unknown key of no simple value", withBody(t, good, replyHeader, "a2016270691863f818"), "key 99: it is no simple value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, err := ParseReply(tt.b); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseReply(%x) = %+v, %v, want error %q", tt.b, got, err, tt.want)
			}
		})
	}
	for _, b := range [][]byte{good, withBody(t, good, replyHeader, "a20162706918630"+"1"), service("85616160010040"),
		withBody(t, good, replyHeader, "a201627069186381a10183f6fb400921fb54442d1841ff")} {
		if _, err := ParseReply(b); err != nil {
			t.Errorf("ParseReply(%x) error = %v, want none", b, err)
		}
	}
}
