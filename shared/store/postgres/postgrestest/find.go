package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// errMissing says how to get PostgreSQL.
var errMissing = errors.New("PostgreSQL is not installed: apt-get install postgresql, or brew install postgresql")

// binaries returns the folder of initdb and postgres: that of the PATH, of pg_config, or the newest
// of the usual places.
func binaries() (string, error) {
	var folders []string
	if path, err := exec.LookPath("initdb"); err == nil {
		folders = append(folders, filepath.Dir(path))
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(out)))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
	} {
		found, _ := filepath.Glob(pattern) // sorted; of two versions of as many digits the newer is the last
		for i := range found {
			folders = append(folders, found[len(found)-1-i])
		}
	}
	for _, folder := range folders {
		if executable(filepath.Join(folder, "initdb")) && executable(filepath.Join(folder, "postgres")) {
			return folder, nil
		}
	}
	return "", errMissing
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

// account returns the user to run the server as; nil: this one.
func account() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

// folder makes the folder of a server, below one that its account can pass through. Its path is
// short: that of a socket must be.
func folder(as *syscall.Credential) (string, error) {
	var tried []error
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if as != nil && !passable(parent) {
			tried = append(tried, fmt.Errorf("%s: closed to the user of the server", parent))
			continue
		}
		dir, err := os.MkdirTemp(parent, "pg")
		if err == nil && as != nil {
			err = errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, int(as.Uid), int(as.Gid)))
		}
		if err == nil && len(dir) < 80 {
			return dir, nil
		}
		tried = append(tried, fmt.Errorf("%s: %w", parent, err))
	}
	return "", errors.Join(tried...)
}

// passable reports whether everybody may pass through the folder and all above it.
func passable(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
