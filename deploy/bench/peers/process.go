package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bootWithin limits the start of a process.
const bootWithin = time.Minute

// process is a process that the benchmark started.
type process struct {
	cmd   *exec.Cmd
	out   string        // the file that holds its standard error
	ended chan struct{} // closed when it has ended
}

// launch starts a program with env, a PATH and a HOME as its environment. Its standard output is
// discarded, and its standard error goes to a file in dir.
func launch(dir, name, program string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), out: filepath.Join(dir, name+".err"), ended: make(chan struct{})}
	out, err := os.Create(p.out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has a copy
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	p.cmd.Stderr = out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // an error: it is killed
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process and waits for that.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error: it has ended already
	<-p.ended
}

// lastErrors returns the last part of the standard error.
func (p *process) lastErrors() string {
	data, _ := os.ReadFile(p.out) // best effort
	return string(data[max(0, len(data)-2000):])
}

// listens waits until the process listens at an address.
func (p *process) listens(ctx context.Context, addr string) error {
	for end := time.Now().Add(bootWithin); time.Now().Before(end); {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.lastErrors())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not listen: %s", p.cmd.Path, p.lastErrors())
}

// freeAddr returns a loopback address at which no process listens now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// times returns the CPU time of a process, and of those of its children that have ended, in seconds
// (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
func times(stat string) (own, children float64, parent int, err error) {
	const ticks = 100 // in a second: USER_HZ
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, 0, 0, fmt.Errorf("too few fields in %q", stat)
	}
	var numbers [4]float64
	for i := range numbers {
		n, parsing := strconv.ParseFloat(fields[11+i], 64)
		err = errors.Join(err, parsing)
		numbers[i] = n / ticks
	}
	parent, parsing := strconv.Atoi(fields[1])
	return numbers[0] + numbers[1], numbers[2] + numbers[3], parent, errors.Join(err, parsing)
}

// cpu returns the CPU time of a process without children, in seconds.
func cpu(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	own, _, _, err := times(string(stat))
	return own, err
}

// family returns a process and its live children, and the CPU time, in seconds, of these and of the
// children that have ended.
func family(pid int) (pids []int, seconds float64, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, 0, err
	}
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended, and its time is in that of its parent
		}
		own, children, parent, err := times(string(stat))
		if err != nil {
			return nil, 0, err
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(file))) // a number, by the pattern
		if id == pid {
			seconds += own + children
		} else if parent == pid {
			seconds += own
		} else {
			continue
		}
		pids = append(pids, id)
	}
	return pids, seconds, nil
}

// field returns the number behind a name in a file of /proc, and 0 if there is none.
func field(pid int, file, name string) float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)) // an error: the process has ended
	_, rest, _ := bytes.Cut(data, []byte("\n"+name+":"))
	n, _ := strconv.ParseFloat(strings.Fields(string(rest) + " 0")[0], 64)
	return n
}

// peakMB returns the peak memory of a process, in MB (VmHWM).
func peakMB(pid int) float64 { return field(pid, "status", "VmHWM") * 1024 / 1e6 }

// residentMB returns the memory of a process now, in MB (VmRSS).
func residentMB(pid int) float64 { return field(pid, "status", "VmRSS") * 1024 / 1e6 }

// shareMB returns the memory of a process now, in MB, with its share of the pages that it shares
// (Pss).
func shareMB(pid int) float64 { return field(pid, "smaps_rollup", "Pss") * 1024 / 1e6 }

// written returns the bytes that a process has written to the disk
// (https://man7.org/linux/man-pages/man5/proc_pid_io.5.html).
func written(pid int) float64 { return field(pid, "io", "write_bytes") }
