// Command tied runs one server and ties its life to the process that started it: when its standard
// input ends, which also happens when that process is killed, the server's process group is killed.
//
// Lines on standard input send signals (TERM, KILL, STOP, CONT, HUP, USR1), so nobody has to signal
// a process id that may have been reused. `-pid FILE` receives the server's process id; the exit
// code is the server's, or 128 plus its signal.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM,
	"KILL": syscall.SIGKILL,
	"STOP": syscall.SIGSTOP,
	"CONT": syscall.SIGCONT,
	"HUP":  syscall.SIGHUP,
	"USR1": syscall.SIGUSR1,
}

func main() {
	pidFile := flag.String("pid", "", "file that receives the server's process id")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: tied [-pid FILE] PROGRAM [ARG...]")
		os.Exit(2)
	}
	server := exec.Command(flag.Arg(0), flag.Args()[1:]...)
	server.Stdout, server.Stderr = os.Stdout, os.Stderr
	server.SysProcAttr = ownGroup()
	if err := server.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "tied:", err)
		os.Exit(127)
	}
	if *pidFile != "" {
		if err := writePid(*pidFile, server.Process.Pid); err != nil {
			killGroup(server)
			fmt.Fprintln(os.Stderr, "tied:", err)
			os.Exit(1)
		}
	}
	go obey(server)
	go killOnSignal(server)
	os.Exit(exitCode(server))
}

// obey forwards signals until standard input ends, and then ends the server.
func obey(server *exec.Cmd) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if signal, known := signals[lines.Text()]; known {
			_ = server.Process.Signal(signal)
		}
	}
	killGroup(server)
}

func killOnSignal(server *exec.Cmd) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	<-caught
	killGroup(server)
}

func killGroup(server *exec.Cmd) {
	_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
}

// writePid renames a finished file into place, so that whoever waits for the file never reads half
// a number.
func writePid(path string, pid int) error {
	if err := os.WriteFile(path+".new", fmt.Appendln(nil, pid), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func exitCode(server *exec.Cmd) int {
	_ = server.Wait()
	status, ok := server.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return server.ProcessState.ExitCode()
}
