package discover

import (
	"context"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// shared lets several sockets listen on one port.
func shared(_, _ string, raw syscall.RawConn) (err error) {
	cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	if cerr != nil {
		return cerr
	}
	return err
}

// openLinks opens what tells of changes of interfaces and addresses (rtnetlink(7)) in the namespace of the calling thread; nil
// means that nothing tells of them.
func openLinks() *os.File {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil
	}
	return os.NewFile(uintptr(fd), "netlink")
}

// watchLinks tells changes of every change until ctx ends, or the function that it returns is called, which waits for the end.
func (r *Responder) watchLinks(ctx context.Context, changes chan<- struct{}) func() {
	if r.links == nil {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { _ = r.links.Close() }) // which ends the read below
	go func() {
		defer close(done)
		buf := make([]byte, 32<<10)
		for {
			if _, err := r.links.Read(buf); err != nil && ctx.Err() != nil {
				return
			} else if err != nil && !permitted(err) {
				return
			}
			select {
			case changes <- struct{}{}:
			default: // it has been told already
			}
		}
	}()
	return func() {
		if stop() {
			_ = r.links.Close()
		}
		<-done
	}
}

// permitted reports whether reading goes on after the error: some messages were lost, so that something has changed.
func permitted(err error) bool {
	e, ok := err.(*os.PathError)
	return ok && e.Err == unix.ENOBUFS
}
