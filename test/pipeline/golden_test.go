package pipeline

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run go test -update:\n%s", path, diff)
	}
}

// What two hosts of the deployment get, flow by flow with causes.
func TestDeployment(t *testing.T) {
	top := deployment()
	for _, h := range top.hosts[:2] {
		golden(t, h.Hostname+".txt", compile(t, top.view(h), features()...).Plan().String())
	}
}
