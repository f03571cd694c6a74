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

// bootWithin bounds the start of a process.
const bootWithin = time.Minute

// process is one that the benchmark started.
type process struct {
	cmd  *exec.Cmd
	out  string // the file that has what it wrote to standard error
	gone chan struct{}
}

// launch starts a program with this environment alone. What it logs to standard output is thrown away; standard error is kept in dir.
func launch(dir, name, program string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), out: filepath.Join(dir, name+".err"), gone: make(chan struct{})}
	out, err := os.Create(p.out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	p.cmd.Stderr = out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.gone)
		_ = p.cmd.Wait() // it is killed
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process, and returns when it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.gone
}

// said is the end of what the process wrote to standard error.
func (p *process) said() string {
	data, _ := os.ReadFile(p.out) // there may be nothing
	return string(data[max(0, len(data)-2000):])
}

// listens waits until something listens at the address.
func (p *process) listens(ctx context.Context, addr string) error {
	for end := time.Now().Add(bootWithin); time.Now().Before(end); {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.gone:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not listen: %s", p.cmd.Path, p.said())
}

// freeAddr is a loopback address where nothing listens now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// times are the seconds of CPU that a process took, and those that its children had taken when it waited for them
// (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
func times(stat string) (own, children float64, parent int, err error) {
	const ticks = 100 // a second: USER_HZ
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, 0, 0, fmt.Errorf("no fields in %q", stat)
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

// cpu is the CPU time of a process that has no children, in seconds.
func cpu(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	own, _, _, err := times(string(stat))
	return own, err
}

// family is a process and its children that live.
func family(pid int) (pids []int, seconds float64, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, 0, err
	}
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile, and its parent has its time
		}
		own, children, parent, err := times(string(stat))
		if err != nil {
			return nil, 0, err
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(file))) // by the pattern
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

// field is a number that a file of /proc has behind a name; 0 without one.
func field(pid int, file, name string) float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)) // it may have ended
	_, rest, _ := bytes.Cut(data, []byte("\n"+name+":"))
	n, _ := strconv.ParseFloat(strings.Fields(string(rest) + " 0")[0], 64)
	return n
}

// peakMB is the most that a process had in memory, in MB (VmHWM).
func peakMB(pid int) float64 { return field(pid, "status", "VmHWM") * 1024 / 1e6 }

// residentMB is what a process has in memory now, in MB (VmRSS).
func residentMB(pid int) float64 { return field(pid, "status", "VmRSS") * 1024 / 1e6 }

// shareMB is what a process has in memory, in MB, with its part of what it shares (Pss).
func shareMB(pid int) float64 { return field(pid, "smaps_rollup", "Pss") * 1024 / 1e6 }

// written is what a process has had written to the disk, in bytes (https://man7.org/linux/man-pages/man5/proc_pid_io.5.html).
func written(pid int) float64 { return field(pid, "io", "write_bytes") }
