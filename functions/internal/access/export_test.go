package access

// NameOf is the name of the caller who showed that it is who.
func NameOf(who string) string { return named(who).Name }

// Bearer reads an Authorization header.
func Bearer(header string) (credentials string, ok bool) { return bearer(header) }
