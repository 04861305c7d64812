package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxInstances   = 2000     // slices of one study
	maxFileBytes   = 64 << 20 // one slice
	maxListBytes   = 64 << 20 // the list of slices
	requestTimeout = 30 * time.Second
	attempts       = 4
	firstPause     = 250 * time.Millisecond // doubled after each attempt
)

// archive is a client of an Orthanc server's REST interface.
type archive struct {
	base   string
	client *http.Client
	pause  time.Duration
}

func newArchive(base string) archive {
	return archive{base: strings.TrimRight(base, "/"), client: &http.Client{Timeout: requestTimeout}, pause: firstPause}
}

// instances lists the archive's ids of the images of a study.
func (a archive) instances(ctx context.Context, study string) ([]string, error) {
	body, err := a.get(ctx, "/studies/"+url.PathEscape(study)+"/instances", maxListBytes)
	if err != nil {
		return nil, err
	}
	var list []struct{ ID string }
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("list of instances: %w", err)
	}
	if len(list) == 0 || len(list) > maxInstances {
		return nil, fmt.Errorf("study has %d instances, supported are 1 to %d", len(list), maxInstances)
	}
	ids := make([]string, len(list))
	for i, entry := range list {
		ids[i] = entry.ID
	}
	return ids, nil
}

// file fetches one image as the DICOM file it was stored from.
func (a archive) file(ctx context.Context, instance string) ([]byte, error) {
	return a.get(ctx, "/instances/"+url.PathEscape(instance)+"/file", maxFileBytes)
}

// get asks again when there is no answer or the archive is in trouble: reading is safe to repeat.
func (a archive) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	pause := a.pause
	for attempt := 1; ; attempt++ {
		body, again, err := a.getOnce(ctx, path, limit)
		if err == nil || !again || attempt == attempts || ctx.Err() != nil {
			return body, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
			pause *= 2
		}
	}
}

func (a archive) getOnce(ctx context.Context, path string, limit int64) (body []byte, again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return nil, false, err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, true, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, response.StatusCode >= 500, fmt.Errorf("GET %s: the archive answered %s", path, response.Status)
	}
	body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, true, fmt.Errorf("GET %s: %w", path, err)
	}
	if int64(len(body)) > limit {
		return nil, false, fmt.Errorf("GET %s: the answer is larger than %d bytes", path, limit)
	}
	return body, false, nil
}
