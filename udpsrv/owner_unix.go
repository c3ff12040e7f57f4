//go:build unix

package main

import (
	"os"
	"os/user"
	"strconv"
)

// giveToMosquitto makes the file mosquitto's, if this is root and there is such a user: it reads its key after it has given
// root up.
func giveToMosquitto(f *os.File) error {
	u, err := user.Lookup("mosquitto")
	if err != nil || os.Geteuid() != 0 {
		return nil //nolint:nilerr // there is nobody to give it to
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return f.Chown(uid, gid)
}
