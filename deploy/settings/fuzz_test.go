package main

import (
	"strings"
	"testing"
)

// FuzzEnvFile: whatever a file holds, each of its lines is a setting or a fault that does not repeat the line.
func FuzzEnvFile(f *testing.F) {
	f.Add([]byte(text(good())))
	f.Add([]byte("A=b\r\nA=c\nB='x'\nC=x # y\n D=1\nE =1\n=\n\xff=\x00\n#\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		bad := &faults{file: "f"}
		file := parseEnv("f", data, bad)
		lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
		for key, line := range file.lines {
			if !keyName.MatchString(key) || line < 1 || line > len(lines) || !strings.HasPrefix(lines[line-1], key+"=") || strings.TrimSpace(file.values[key]) != file.values[key] && len(bad.list) == 0 {
				t.Errorf("line %d of %q is %s=%q", line, data, key, file.values[key])
			}
		}
		if len(bad.list) == 0 {
			return
		}
		told := bad.Error()
		for _, line := range lines {
			if _, value, _ := strings.Cut(line, "="); len(value) > 20 && strings.Contains(told, value) {
				t.Errorf("%q is told: %s", value, told)
			}
		}
	})
}
