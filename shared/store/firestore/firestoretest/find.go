package firestoretest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const howToGet = "gcloud components install cloud-firestore-emulator (or apt-get install " +
	"google-cloud-cli-firestore-emulator) and a Java 17 or later"

// errMissing says that this machine has no emulator.
var errMissing = errors.New("no Firestore emulator here: " + howToGet)

// jar is the emulator, below the root of an installed Google Cloud SDK.
const jar = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"

// find returns the commands needed and the path of the emulator.
func find() (shell, java, path string, err error) {
	if shell, err = exec.LookPath("sh"); err != nil {
		return "", "", "", fmt.Errorf("%w (%w)", errMissing, err)
	}
	if java, err = exec.LookPath("java"); err != nil {
		return "", "", "", fmt.Errorf("%w (%w)", errMissing, err)
	}
	for _, root := range roots() {
		path := filepath.Join(root, jar)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return shell, java, path, nil
		}
	}
	return "", "", "", errMissing
}

// roots are where the SDK may be: beside the gcloud that is called, where it is usually put, and
// where gcloud says, which takes it most of a second.
func roots() []string {
	all := []string{
		"/usr/lib/google-cloud-sdk",
		"/usr/share/google-cloud-sdk",
		"/opt/google-cloud-sdk",
		"/snap/google-cloud-cli/current",
	}
	if home, err := os.UserHomeDir(); err == nil {
		all = append(all, filepath.Join(home, "google-cloud-sdk"))
	}
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		return all
	}
	if target, err := filepath.EvalSymlinks(gcloud); err == nil {
		all = append([]string{filepath.Dir(filepath.Dir(target))}, all...)
	}
	for _, root := range all {
		if _, err := os.Stat(filepath.Join(root, jar)); err == nil {
			return all
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, gcloud, "info", "--format=value(installation.sdk_root)").Output()
	if err == nil {
		all = append(all, strings.TrimSpace(string(out)))
	}
	return all
}
