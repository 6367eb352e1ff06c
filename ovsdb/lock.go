package ovsdb

import (
	"context"
	"fmt"
)

// Steal takes the named lock (RFC 7047 section 4.1.8), from whoever has it. From
// then on, won or lost, every Transact asserts it, until Unlock. A session has
// one lock at a time.
//
// ovsdb-server 3.1 gives a stolen lock back to nobody, even when the thief goes:
// who lost it has to steal it in turn.
func (s *Session) Steal(ctx context.Context, lock string) error {
	s.mu.Lock()
	asked := s.lock
	s.mu.Unlock()
	switch {
	case asked == lock && s.Owns():
		return nil
	case asked == lock: // stolen: the server wants an unlock before the next steal
		if err := s.Unlock(ctx); err != nil {
			return err
		}
	case asked != "":
		return fmt.Errorf("steal lock %q: the session has lock %q", lock, asked)
	}
	s.mu.Lock()
	s.lock = lock // before the reply: nothing may be written without it
	s.mu.Unlock()
	err := s.call(ctx, "steal", []string{lock}, func(c *cursor) {
		for ok := c.first('{', '}'); ok; ok = c.next('}') {
			if string(c.key()) == "locked" {
				s.setOwns(c.boolean())
			} else {
				c.raw()
			}
		}
	})
	if err != nil {
		return fmt.Errorf("steal lock %q: %w", lock, err)
	}
	return nil
}

// Unlock gives the lock back. Transact no longer asserts it.
func (s *Session) Unlock(ctx context.Context) error {
	s.mu.Lock()
	lock := s.lock
	s.mu.Unlock()
	if lock == "" {
		return nil
	}
	err := s.call(ctx, "unlock", []string{lock}, func(c *cursor) {
		c.raw()
		s.mu.Lock()
		s.lock = ""
		s.mu.Unlock()
		s.setOwns(false)
	})
	if err != nil {
		return fmt.Errorf("unlock %q: %w", lock, err)
	}
	return nil
}

// Owns says whether the lock is ours now. Mirror.Changed is closed when that changes.
func (s *Session) Owns() bool {
	select {
	case <-s.done:
		return false
	default:
		return s.owns.Load()
	}
}

// lockChanged takes "locked" and "stolen": [lock].
func (s *Session) lockChanged(c *cursor, owns bool) {
	c.expect('[')
	lock := c.word()
	c.expect(']')
	c.end()
	s.mu.Lock()
	ours := lock == s.lock
	s.mu.Unlock()
	if c.err == nil && ours {
		s.setOwns(owns)
	}
}

// setOwns is called by the reader alone.
func (s *Session) setOwns(owns bool) {
	if s.owns.Swap(owns) != owns {
		s.publish(s.Mirror().following())
	}
}
