package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// guard is a piece of a function that keeps a promise, and what is there without it.
type guard struct {
	name string
	pkg  string // its folder below the module
	in   string // the function, or Type.method
	is   string // occurs once in that; any space stands for any other
	not  string
	test string // "folder Test": the test that sees it, where the simulation cannot; "" for none
	why  string // why the simulation cannot
}

// without returns the file that the guard is in, below root, and its source without the guard. It is an error if the text is not there exactly once.
func (g guard) without(root string) (file string, source []byte, err error) {
	files, err := filepath.Glob(filepath.Join(root, g.pkg, "*.go"))
	if err != nil {
		return "", nil, err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", nil, err
		}
		from, to, err := body(text, g.in)
		if err != nil {
			return "", nil, err
		}
		if to == 0 {
			continue
		}
		at := g.pattern().FindAllIndex(text[from:to], -1)
		if len(at) != 1 {
			return "", nil, fmt.Errorf("%s of %s has it %d times: %q", g.in, g.pkg, len(at), g.is)
		}
		file, err := filepath.Rel(root, path)
		return file, slices.Concat(text[:from+at[0][0]], []byte(g.not), text[from+at[0][1]:]), err
	}
	return "", nil, fmt.Errorf("%s has no function %s", g.pkg, g.in)
}

func (g guard) pattern() *regexp.Regexp {
	words := strings.Fields(g.is)
	for i := range words {
		words[i] = regexp.QuoteMeta(words[i])
	}
	return regexp.MustCompile(strings.Join(words, `\s+`))
}

// body says where the body of a function is in a file; 0, 0 if the file has no such function.
func body(source []byte, function string) (from, to int, err error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "", source, parser.SkipObjectResolution)
	if err != nil {
		return 0, 0, err
	}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil || nameOf(f) != function {
			continue
		}
		return files.Position(f.Body.Pos()).Offset, files.Position(f.Body.End()).Offset, nil
	}
	return 0, 0, nil
}

func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

// testOf is the folder and the name of the test that sees it.
func (g guard) testOf(root string) (pkg, name string, err error) {
	pkg, name, _ = strings.Cut(g.test, " ")
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		return "", "", err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", "", err
		}
		if bytes.Contains(text, []byte("func "+name+"(")) {
			return pkg, name, nil
		}
	}
	return "", "", errors.New("there is no test " + g.test)
}
