package model

import (
	"encoding/json"
	"slices"
)

// The most tags a resource may have, and the most characters of one.
const (
	maxTags      = 50
	maxTagLength = 255
)

// Tags are the tags as they are stored: sorted, each once. The error is an *Invalid.
func Tags(given []string) ([]string, error) {
	tags := slices.Clone(given)
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if len(tags) > maxTags {
		return nil, BadRequest("Invalid input for tags. Reason: the number of tags exceeds the maximum of %d.", maxTags)
	}
	for _, tag := range tags {
		if n := len([]rune(tag)); n == 0 || n > maxTagLength {
			return nil, BadRequest("Invalid input for tags. Reason: '%s' is not a tag of 1 to %d characters.", Quote(tag), maxTagLength)
		}
	}
	if len(tags) == 0 {
		return nil, nil
	}
	return tags, nil
}

// ReadTags reads the body {"tags": ["a", "b"]}. The error is an *Invalid.
func ReadTags(body []byte) ([]string, error) {
	var given struct{ Tags *[]string }
	if json.Unmarshal(body, &given) != nil || given.Tags == nil {
		return nil, BadRequest("Invalid tags body")
	}
	return *given.Tags, nil
}
