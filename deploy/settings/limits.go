package main

import (
	"strings"
	"time"

	"github.com/casewatch/casewatch/shared/config"
)

// limits adds to bad what the functions' resources do not allow.
func (p *Plan) limits(f envFile, c *config.Config, bad *faults) {
	for _, s := range p.Services {
		at := func(name string) int {
			if line := f.lines[name+"_"+strings.ToUpper(s.Function)]; line > 0 {
				return line
			}
			return f.lines[name]
		}
		if s.Max > 0 && s.Min > s.Max {
			bad.add(at("MIN_INSTANCES"), "MIN_INSTANCES of %s is %d, more than its MAX_INSTANCES, which is %d", s.Function, s.Min, s.Max)
		}
		if strings.HasPrefix(s.CPU, "0.") && s.Concurrency > 1 {
			bad.add(at("CONCURRENCY"), "CONCURRENCY of %s is %d; with CPU below 1 the platform allows 1", s.Function, s.Concurrency)
		}
		if c == nil {
			continue
		}
		timeout := time.Duration(s.Timeout) * time.Second
		switch s.Function {
		case "check":
			if least := c.Rules.CheckTimeout + checkOverhead; timeout < least {
				bad.add(at("TIMEOUT"), "TIMEOUT of check is %v; expected at least %v: CHECK_TIMEOUT and %v for the rest", timeout, least, checkOverhead)
			}
		case "dispatch":
			// A request more than the instances hold is answered 429, for which Cloud Tasks slows the whole queue down.
			if room := s.Max * s.Concurrency; c.Queue.Concurrency > room {
				bad.add(f.lines["DISPATCH_CONCURRENCY"], "DISPATCH_CONCURRENCY is %d; the instances of dispatch hold %d requests (MAX_INSTANCES %d × CONCURRENCY %d)",
					c.Queue.Concurrency, room, s.Max, s.Concurrency)
			}
		}
	}
}
