package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const events = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.5}
{"Action":"output","Package":"p","Test":"TestB","Output":"b_test.go:1: the reason\n"}
{"Action":"fail","Package":"p","Test":"TestB","Elapsed":2}
{"Action":"skip","Package":"p","Test":"TestC","Elapsed":0}
{"Action":"fail","Package":"p","Elapsed":2.5}
{"Action":"build-output","ImportPath":"q","Output":"q.go:1: syntax error\n"}
{"Action":"fail","Package":"q","Elapsed":0}
not an event
`
	var out strings.Builder
	r := report{out: &out, output: map[string]*strings.Builder{}}
	r.read(strings.NewReader(events))
	r.print()
	for _, want := range []string{
		"FAIL  p TestB\nb_test.go:1: the reason\n", "q.go:1: syntax error\n", "not an event\n",
		"slowest:\n    2.00s  p TestB\n    0.50s  p TestA\n", "1 passed, 3 failed, 1 skipped\n", "skipped: p TestC\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "quiet") {
		t.Errorf("output of a test that passed:\n%s", &out)
	}
}
