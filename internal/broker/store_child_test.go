package broker

import (
	"context"
	"fmt"
	"os"
)

// childStore names the variable that makes the test binary a broker with the store that it holds.
const childStore = "BROKER_TEST_STORE"

// runChild serves until it is killed; the first line that it prints is its address.
func runChild(path string) {
	b, err := New(Config{Listen: []string{"127.0.0.1:0"}, Store: path, Allow: allowAll})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(b.Addrs()[0])
	err = b.Run(context.Background())
	fmt.Println(err)
	os.Exit(1)
}
