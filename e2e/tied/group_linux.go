package main

import (
	"runtime"
	"syscall"
)

// ownGroup also covers a tied that is itself killed: the kernel then kills the server. That signal
// belongs to the thread that forks, so the thread is kept for as long as tied lives.
func ownGroup() *syscall.SysProcAttr {
	runtime.LockOSThread()
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
