package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/url"
	"os"

	"github.com/tunbridge/tunbridge/metadata"
)

// metadataKeys are the keys that say where the metadata of machines comes from.
type metadataKeys struct {
	MetadataURL        string `name:"metadata-url" help:"Nova's metadata API, http://HOST:8775; without it, what is kept with the ports is served." placeholder:"URL"`
	MetadataSecretFile string `help:"File with the secret that Nova has as metadata_proxy_shared_secret." type:"path" placeholder:"FILE"`
}

// metadata makes the server of the keys.
func (k *metadataKeys) metadata(log *slog.Logger) (*metadata.Server, error) {
	o := metadata.Options{Logger: log}
	switch {
	case k.MetadataURL == "" && k.MetadataSecretFile == "":
		return metadata.New(o)
	case k.MetadataURL == "":
		return nil, fmt.Errorf("metadata-secret-file: it is for Nova: set metadata-url too")
	case k.MetadataSecretFile == "":
		return nil, fmt.Errorf("metadata-url: Nova believes only who shares its secret: set metadata-secret-file too")
	}
	var err error
	if o.Nova, err = url.Parse(k.MetadataURL); err != nil {
		return nil, fmt.Errorf("metadata-url: %w", err)
	}
	if o.Secret, err = os.ReadFile(k.MetadataSecretFile); err != nil {
		return nil, fmt.Errorf("metadata-secret-file: %w", err)
	}
	if o.Secret = bytes.TrimSpace(o.Secret); len(o.Secret) == 0 {
		return nil, fmt.Errorf("metadata-secret-file: %s is empty", k.MetadataSecretFile)
	}
	return metadata.New(o)
}
