package main

import (
	"slices"
	"strconv"
	"strings"
)

func diffFirestore(p *Plan, live *state, of func(kind, name string) differ) {
	if p.Firestore == nil {
		return
	}
	database := find(live, "databases", p.Firestore.Database, func(d *liveDatabase) string { return d.Name })
	if database == nil {
		of("database", p.Firestore.Database).missing()
	} else {
		of("database", p.Firestore.Database).look("type", database.Type, "FIRESTORE_NATIVE")
		of("database", p.Firestore.Database).look("location", database.LocationID, p.Region)
		of("database", p.Firestore.Database).update("delete protection", database.DeleteProtectionState, "DELETE_PROTECTION_ENABLED")
		of("database", p.Firestore.Database).update("point-in-time recovery", database.PointInTimeRecoveryEnablement, "POINT_IN_TIME_RECOVERY_ENABLED")
	}
	var indexes []liveIndex
	live.load("indexes", &indexes)
	for _, want := range p.Firestore.Indexes {
		d := of("index", want.Key)
		i := slices.IndexFunc(indexes, func(is liveIndex) bool { return indexKey(group(is.Name), is.QueryScope, is.Fields) == want.Key })
		if i < 0 {
			d.missing()
			continue
		}
		d.look("state", indexes[i].State, "READY")
	}
	var ttls, fields []liveField
	live.load("ttls", &ttls)
	live.load("fields", &fields)
	at := func(list []liveField, ref FieldRef) *liveField {
		i := slices.IndexFunc(list, func(is liveField) bool { return group(is.Name) == ref.Group && base(is.Name) == ref.Path })
		if i < 0 {
			return nil
		}
		return &list[i]
	}
	for _, want := range p.Firestore.TTLs {
		d := of("ttl", want.Key)
		if is := at(ttls, want); is == nil || is.TTLConfig == nil {
			d.missing()
		} else {
			d.look("state", is.TTLConfig.State, "ACTIVE")
		}
	}
	for _, want := range p.Firestore.Exemptions {
		d := of("exemption", want.Key)
		is := at(fields, want.FieldRef)
		if is == nil {
			d.missing()
			continue
		}
		var have []string
		for _, i := range is.IndexConfig.Indexes {
			for _, f := range i.Fields {
				have = append(have, fieldMode(f.Order, f.ArrayConfig, i.QueryScope))
			}
		}
		slices.Sort(have)
		d.update("indexes", orElse(strings.Join(have, ", "), "no index"), want.Want)
	}
}

type liveDatabase struct{ Name, Type, LocationID, DeleteProtectionState, PointInTimeRecoveryEnablement string }

func diffSQL(p *Plan, live *state, of func(kind, name string) differ) {
	if p.CloudSQL == nil {
		return
	}
	d := of("sql-instance", p.CloudSQL.Instance)
	is := find(live, "sql-instances", p.CloudSQL.Instance, func(i *liveSQL) string { return i.Name })
	if is == nil {
		d.missing()
	} else {
		d.look("version", is.DatabaseVersion, p.CloudSQL.Version)
		d.look("state", is.State, "RUNNABLE")
		d.update("tier", is.Settings.Tier, p.CloudSQL.Tier)
		d.update("availability", strings.ToLower(is.Settings.AvailabilityType), p.CloudSQL.Availability)
	}
	if !slices.Contains(live.names("sql-databases"), p.CloudSQL.Database) {
		of("sql-database", p.CloudSQL.Database).missing()
	}
	if !slices.Contains(live.names("sql-users"), p.CloudSQL.User) {
		of("sql-user", p.CloudSQL.User).missing()
	}
}

func diffMonitoring(p *Plan, live *state, of func(kind, name string) differ) {
	if p.AlertEmail != "" {
		d := of("channel", p.AlertEmail)
		if c := p.liveChannel(live); c == nil {
			d.missing()
		} else if c.Enabled != nil {
			d.look("enabled", strconv.FormatBool(*c.Enabled), "true")
		}
	}
	for _, want := range p.Metrics {
		d := of("metric", want.Name)
		var all []liveFile
		live.load("metrics", &all)
		i := slices.IndexFunc(all, func(m liveFile) bool { return m.Name == want.Name })
		if i < 0 {
			d.missing()
		} else if !strings.HasSuffix(all[i].Description, want.mark()) {
			d.update("definition", "another", want.Path)
		}
	}
	for _, want := range p.Alerts {
		d := of("alert", want.Name)
		is := p.liveAlert(live, want.Name)
		if is == nil {
			d.missing()
			continue
		}
		if is.UserLabels["casewatch-spec"] != want.Spec {
			d.update("definition", "another", want.Path)
		}
		d.update("channels", strings.Join(is.NotificationChannels, ","), strings.Join(p.Channels, ","))
		d.look("enabled", strconv.FormatBool(is.Enabled == nil || *is.Enabled), "true")
	}
	for _, want := range p.Dashboards {
		d := of("dashboard", want.Name)
		var all []liveFile
		live.load("dashboards", &all)
		i := slices.IndexFunc(all, func(is liveFile) bool { return is.Labels["casewatch"] == p.Prefix })
		if i < 0 {
			d.missing()
		} else if all[i].Labels["casewatch-spec"] != want.Spec {
			d.update("definition", "another", want.Path)
		}
	}
}

func (p *Plan) liveAlert(live *state, name string) *liveFile {
	var all []liveFile
	live.load("alerts", &all)
	for i, a := range all {
		if a.UserLabels["casewatch"] == p.Prefix && a.UserLabels["casewatch-file"] == name {
			return &all[i]
		}
	}
	return nil
}
