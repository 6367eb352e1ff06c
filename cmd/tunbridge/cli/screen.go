package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// What a terminal is told (ECMA-48, and xterm's private modes).
const (
	toOtherScreen = "\x1b[?1049h\x1b[?25l" // the one that full-screen programs use, without a cursor
	toOwnScreen   = "\x1b[?25h\x1b[?1049l" // the one before, as it was
	toTop         = "\x1b[H"
	clearLine     = "\x1b[K"
	clearRest     = "\x1b[J"
)

// screen is a terminal that is drawn as a whole. close gives it back as it was.
type screen struct {
	out     *os.File
	quit    context.CancelFunc
	resized chan os.Signal

	mu    sync.Mutex
	taken bool
	saved *unix.Termios // of the keyboard; nil if that is no terminal
}

// isTerminal says whether a terminal is behind w.
func isTerminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	if !ok {
		return nil, false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return f, err == nil
}

// openScreen takes the terminal. q and Ctrl-D call quit; Ctrl-C is a signal as ever, and Ctrl-Z gives the terminal
// back until the program goes on.
func openScreen(out *os.File, quit context.CancelFunc) *screen {
	s := &screen{out: out, quit: quit, resized: make(chan os.Signal, 1)}
	signal.Notify(s.resized, unix.SIGWINCH)
	stop, goOn := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTSTP)
	signal.Notify(goOn, unix.SIGCONT)
	go func() {
		for range stop {
			s.give()
			_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
			<-goOn
			s.take()
			select {
			case s.resized <- unix.SIGWINCH:
			default:
			}
		}
	}()
	s.take()
	go s.keys()
	return s
}

// take has keys come at once and unseen, and another screen.
func (s *screen) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd := int(os.Stdin.Fd())
	if now, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		was := *now
		s.saved = &was
		now.Lflag &^= unix.ICANON | unix.ECHO
		now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, now)
	}
	fmt.Fprint(s.out, toOtherScreen)
	s.taken = true
}

// give gives all back.
func (s *screen) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken {
		return
	}
	s.taken = false
	fmt.Fprint(s.out, toOwnScreen)
	if s.saved != nil {
		_ = unix.IoctlSetTermios(int(os.Stdin.Fd()), unix.TCSETS, s.saved)
	}
}

// keys reads the keyboard to the end of the program.
func (s *screen) keys() {
	if s.saved == nil {
		return
	}
	key := make([]byte, 1)
	for {
		switch _, err := os.Stdin.Read(key); {
		case err != nil:
			return
		case key[0] == 'q' || key[0] == 'Q' || key[0] == 4:
			s.quit()
		}
	}
}

// size is the terminal's, in columns and lines.
func (s *screen) size() (columns, lines int) {
	if w, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ); err == nil && w.Col > 0 && w.Row > 0 {
		return int(w.Col), int(w.Row)
	}
	return 80, 24
}

// draw shows the text, as far as there is room.
func (s *screen) draw(text string) error {
	columns, most := s.size()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > most {
		lines = append(lines[:most-1], "…")
	}
	var b strings.Builder
	b.WriteString(toTop)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(clip(line, columns) + clearLine)
	}
	b.WriteString(clearRest)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken {
		return nil
	}
	_, err := io.WriteString(s.out, b.String())
	return err
}

// close gives the terminal back.
func (s *screen) close() {
	signal.Stop(s.resized)
	signal.Reset(unix.SIGTSTP)
	s.give()
}
