//go:build !(cgo && godht)

package agents

// newDHT22GoDHT refuses: this build has not got the library.
func newDHT22GoDHT(_ dht22Options, d Deps) (dht22Driver, error) {
	return nil, iioAt(d, "driver", "go-dht is not in this build: it needs cgo, so it must be built with CGO_ENABLED=1 go build -tags godht ./agents/agentd; "+
		"driver: iio and driver: edges are in every build")
}
