package testbed

import "os"

// RequireRoot skips a test that needs namespaces when the user is not root. Where
// CI=true is set, tests run as root and skipping is a failure. t is a *testing.T.
func RequireRoot(t interface {
	Helper()
	Skip(...any)
	Fatal(...any)
}) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("needs root, and under CI nothing is skipped")
	default:
		t.Skip("needs root")
	}
}
