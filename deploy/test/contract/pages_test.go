package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/casewatch/casewatch/shared/config"
)

const (
	maxReadme = 10_240 // bytes: what a stranger reads before deciding
	maxWidth  = 100    // columns of a line of Markdown, tables and code blocks aside
)

// pages returns the text of each Markdown page by its path below the root. Pages that a program writes are left out.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	list := run(t, root(t), "git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md")
	for _, name := range strings.Fields(list) {
		data, err := os.ReadFile(filepath.Join(root(t), name))
		if os.IsNotExist(err) || strings.Contains(name, "/testdata/") || name == "deploy/bench/policy/results.md" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(data)
	}
	return found
}

var (
	codeBlock  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inlineCode = regexp.MustCompile("`[^`\n]*`")
)

// prose returns a page without its blocks of code. Lines keep their numbers.
func prose(page string) string {
	return codeBlock.ReplaceAllStringFunc(page, func(block string) string {
		return strings.Repeat("\n", strings.Count(block, "\n"))
	})
}

func TestReadmeIsShort(t *testing.T) {
	if got := len(pages(t)["README.md"]); got == 0 || got > maxReadme {
		t.Errorf("README.md has %d bytes, want 1 to %d: move what only some readers need to a guide", got, maxReadme)
	}
}

// unbreakable is what cannot be wrapped: code, the target of a link, a tag of HTML.
var unbreakable = regexp.MustCompile("`[^`]*`|\\]\\([^)]*\\)|<[^>]*>")

func TestPagesAreNarrow(t *testing.T) {
	for name, page := range pages(t) {
		for i, line := range strings.Split(prose(page), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "|") || utf8.RuneCountInString(line) <= maxWidth {
				continue
			}
			if got := utf8.RuneCountInString(unbreakable.ReplaceAllString(line, "")); got > maxWidth {
				t.Errorf("%s:%d has more than %d columns", name, i+1, maxWidth)
			}
		}
	}
}

var (
	link        = regexp.MustCompile(`(?:\]\(|src="|href=")([^)\s"]+)`)
	heading     = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	headingLink = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors returns the fragments by which GitHub links to the headings of a page.
func anchors(page string) []string {
	var found []string
	for _, m := range heading.FindAllStringSubmatch(prose(page), -1) {
		text := headingLink.ReplaceAllString(m[1], "$1")
		anchor := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
		for unique, n := anchor, 1; ; n++ {
			if !slices.Contains(found, unique) {
				found = append(found, unique)
				break
			}
			unique = fmt.Sprintf("%s-%d", anchor, n)
		}
	}
	return found
}

// TestLinks follows each link of a page to a file, a folder or a heading of this repository.
func TestLinks(t *testing.T) {
	all, followed := pages(t), 0
	for name, page := range all {
		for _, m := range link.FindAllStringSubmatch(inlineCode.ReplaceAllString(prose(page), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			followed++
			target, fragment, _ := strings.Cut(m[1], "#")
			path := name
			if target != "" {
				path = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root(t), path)); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			} else if fragment != "" && !slices.Contains(anchors(all[path]), fragment) {
				t.Errorf("%s links to %s: %s has no such heading, but %q", name, m[1], path, anchors(all[path]))
			}
		}
	}
	if followed < 50 {
		t.Errorf("%d links were found: is the pattern of this test right?", followed)
	}
}

var (
	makeTarget    = regexp.MustCompile(`(?m)^([a-z]+):.*## `)
	makeMentioned = regexp.MustCompile("(?m)(?:`|^ *)make ([a-z]+)\\b")
)

// TestMakeTargets wants each target that a page names to be in the Makefile, and AGENTS.md to list all.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	all := pages(t)
	for name, page := range all {
		for _, m := range makeMentioned.FindAllStringSubmatch(page, -1) {
			if !slices.Contains(targets, m[1]) {
				t.Errorf("%s names `make %s`, which the Makefile has not: %q", name, m[1], targets)
			}
		}
	}
	for _, target := range targets {
		if !strings.Contains(all["AGENTS.md"], "`make "+target+"`") {
			t.Errorf("AGENTS.md does not list `make %s`", target)
		}
	}
}

const (
	settingsPage = "deploy/docs/settings.md"
	settingsHead = "| setting | default | | used by |\n| --- | --- | --- | --- |\n"
)

// settingRow is a setting's line in the table of the guide.
func settingRow(s config.Setting) string {
	standard := "none"
	switch {
	case s.Required:
		standard = "required"
	case s.Default != "":
		standard = "`" + s.Default + "`"
	}
	var by string
	switch missing := without(config.Functions(), s.Functions); {
	case len(s.Functions) == 0:
		by = "deployments, `make run`"
	case len(missing) == 0:
		by = "all"
	case len(missing) == 1:
		by = "all but " + missing[0]
	default:
		by = strings.Join(s.Functions, ", ")
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", s.Name, standard, s.Doc, by)
}

func without(list, drop []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(drop, s) })
}

// TestSettingsTable wants the table of the guide to be that of shared/config. With -args -update it
// writes the table anew.
func TestSettingsTable(t *testing.T) {
	page := pages(t)[settingsPage]
	before, rest, found := strings.Cut(page, settingsHead)
	if !found {
		t.Fatalf("%s has no table that begins with\n%s", settingsPage, settingsHead)
	}
	table, after, _ := strings.Cut(rest, "\n\n")
	var want strings.Builder
	for _, s := range config.Settings() {
		want.WriteString(settingRow(s))
	}
	if *update {
		written := before + settingsHead + want.String() + "\n" + after
		if err := os.WriteFile(filepath.Join(root(t), settingsPage), []byte(written), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table+"\n" != want.String() {
		t.Errorf("the table of %s is not that of shared/config (-args -update writes it anew); want\n%s",
			settingsPage, want.String())
	}
}
