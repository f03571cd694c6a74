package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Firestore is a database and what it is told about its fields.
type Firestore struct {
	Database   string       `json:"database"`
	Indexes    []Index      `json:"indexes"`
	TTLs       []FieldRef   `json:"ttls"`
	Exemptions []FieldIndex `json:"exemptions"`
}

// Index is a composite index. Key says it on one line; Args are the flags that create it.
type Index struct {
	Key   string   `json:"key"`
	Group string   `json:"group"`
	Scope string   `json:"scope"`
	Args  []string `json:"args"`
}

// FieldRef is a field of the documents of a collection group.
type FieldRef struct {
	Key   string `json:"key"`
	Group string `json:"group"`
	Path  string `json:"path"`
}

// FieldIndex is a field with other indexes than the automatic ones; with none, Args turn them off.
type FieldIndex struct {
	FieldRef
	Want string   `json:"want"`
	Args []string `json:"args"`
}

// CloudSQL is a PostgreSQL of the project.
type CloudSQL struct {
	Instance     string `json:"instance"`
	Connection   string `json:"connection"` // PROJECT:REGION:INSTANCE
	Tier         string `json:"tier"`
	Version      string `json:"version"`
	Availability string `json:"availability"`
	Database     string `json:"database"`
	User         string `json:"user"`
}

// indexFile is Firebase's firestore.indexes.json (https://firebase.google.com/docs/reference/firestore/indexes).
type indexFile struct {
	Indexes []struct {
		CollectionGroup string
		QueryScope      string
		Fields          []indexField
	}
	FieldOverrides []struct {
		CollectionGroup string
		FieldPath       string
		TTL             bool
		Indexes         *[]struct {
			Order, ArrayConfig, QueryScope string
		}
	}
}

type indexField struct{ FieldPath, Order, ArrayConfig string }

// store plans where runs are kept.
func (p *Plan) store(f envFile, folder string, bad *faults) {
	database, isFirestore := strings.CutPrefix(f.values["STORE"], "firestore:")
	switch {
	case isFirestore:
		p.APIs = append(p.APIs, "firestore.googleapis.com")
		p.Firestore = &Firestore{Database: orElse(database, "(default)"), Indexes: []Index{}, TTLs: []FieldRef{}, Exemptions: []FieldIndex{}}
		if err := p.Firestore.read(filepath.Join(folder, "firestore.indexes.json")); err != nil {
			bad.add(0, "%v", err)
		}
	case f.values["STORE"] == "cloudsql":
		p.APIs = append(p.APIs, "sqladmin.googleapis.com")
		p.CloudSQL = &CloudSQL{
			Instance: f.values["CLOUD_SQL_INSTANCE"], Connection: p.Project + ":" + p.Region + ":" + f.values["CLOUD_SQL_INSTANCE"],
			Tier: f.values["CLOUD_SQL_TIER"], Version: f.values["CLOUD_SQL_VERSION"], Availability: f.values["CLOUD_SQL_AVAILABILITY"],
			Database: "casewatch", User: "casewatch",
		}
	}
	for _, name := range []string{"CLOUD_SQL_INSTANCE", "CLOUD_SQL_TIER", "CLOUD_SQL_VERSION", "CLOUD_SQL_AVAILABILITY"} {
		if line := f.lines[name]; line > 0 && p.CloudSQL == nil {
			bad.add(line, "%s is without effect: STORE is not cloudsql", name)
		} else if line == 0 && p.CloudSQL != nil {
			bad.add(0, "%s is missing, and STORE is cloudsql", name)
		}
	}
}

// read adds what the index file says. That there is none is an error: queries would fail that need an index.
func (s *Firestore) read(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(path + " is missing")
	}
	if err != nil {
		return err
	}
	var file indexFile
	if err := json.Unmarshal(data, &file); err != nil {
		return errors.New(path + ": " + err.Error())
	}
	for _, i := range file.Indexes {
		index := Index{Group: i.CollectionGroup, Scope: orElse(i.QueryScope, "COLLECTION"), Key: indexKey(i.CollectionGroup, orElse(i.QueryScope, "COLLECTION"), i.Fields)}
		for _, field := range i.Fields {
			index.Args = append(index.Args, "--field-config=field-path="+field.FieldPath+","+field.mode())
		}
		s.Indexes = append(s.Indexes, index)
	}
	for _, o := range file.FieldOverrides {
		ref := FieldRef{o.CollectionGroup + "." + o.FieldPath, o.CollectionGroup, o.FieldPath}
		if o.TTL {
			s.TTLs = append(s.TTLs, ref)
		}
		if o.Indexes == nil {
			continue
		}
		exemption := FieldIndex{FieldRef: ref, Want: "no index"}
		var want []string
		for _, i := range *o.Indexes {
			mode := indexField{Order: i.Order, ArrayConfig: i.ArrayConfig}.mode()
			exemption.Args = append(exemption.Args, "--index="+mode+",query-scope="+dashed(orElse(i.QueryScope, "COLLECTION")))
			want = append(want, fieldMode(i.Order, i.ArrayConfig, orElse(i.QueryScope, "COLLECTION")))
		}
		if len(want) > 0 {
			slices.Sort(want)
			exemption.Want = strings.Join(want, ", ")
		} else {
			exemption.Args = []string{"--disable-indexes"}
		}
		s.Exemptions = append(s.Exemptions, exemption)
	}
	return nil
}

// mode is how gcloud is told how a field is indexed.
func (f indexField) mode() string {
	if f.ArrayConfig != "" {
		return "array-config=" + dashed(f.ArrayConfig)
	}
	return "order=" + dashed(orElse(f.Order, "ASCENDING"))
}

func dashed(constant string) string { return strings.ToLower(strings.ReplaceAll(constant, "_", "-")) }

func fieldMode(order, array, scope string) string {
	return strings.ToLower(orElse(array, order) + " in " + scope)
}

// indexKey says an index on one line. The document's name, with which Firestore ends every index, is left out.
func indexKey(group, scope string, fields []indexField) string {
	parts := []string{}
	for _, f := range fields {
		if f.FieldPath != "__name__" {
			parts = append(parts, f.FieldPath+" "+strings.ToLower(orElse(f.ArrayConfig, f.Order)))
		}
	}
	if scope != "COLLECTION" {
		group += " " + dashed(scope)
	}
	return group + "(" + strings.Join(parts, ", ") + ")"
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
