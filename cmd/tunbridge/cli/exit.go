package cli

import "fmt"

// finding is the answer of a command that found what should not be. Scripts see exit status 1; what keeps
// a command from its answer is another error, and exit status 2.
type finding struct{ text string }

func (f *finding) Error() string { return f.text }

// ExitCode is 1.
func (f *finding) ExitCode() int { return 1 }

// found makes a finding.
func found(format string, args ...any) error { return &finding{fmt.Sprintf(format, args...)} }
