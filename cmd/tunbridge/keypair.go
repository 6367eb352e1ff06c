package main

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// keyPair is a certificate and its key in files.
type keyPair struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	written time.Time // the certificate's file, when it was loaded
	looked  time.Time
}

// get returns what the files hold, looking no more than once a second. While they hold no pair, because
// they are just being written, it is what they held before.
func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded != nil && time.Since(p.looked) < time.Second {
		return p.loaded, nil
	}
	p.looked = time.Now()
	info, err := os.Stat(p.cert)
	if err == nil && p.loaded != nil && info.ModTime().Equal(p.written) {
		return p.loaded, nil
	}
	if err == nil {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(p.cert, p.key); err == nil {
			p.loaded, p.written = &pair, info.ModTime()
		}
	}
	if p.loaded != nil {
		return p.loaded, nil
	}
	return nil, err
}
