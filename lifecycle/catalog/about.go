package catalog

import "maps"

// With returns a copy of a map in which key has the value, or is missing if that is "".
func With(m map[string]string, key, value string) map[string]string {
	changed := maps.Clone(m)
	if changed == nil {
		changed = map[string]string{}
	}
	changed[key] = value
	if value == "" {
		delete(changed, key)
	}
	return changed
}
