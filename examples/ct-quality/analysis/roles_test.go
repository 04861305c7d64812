package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeArchive serves one study; the first `failures` requests are answered with 503.
func fakeArchive(t *testing.T, failures int, files ...[]byte) (archive, *int) {
	t.Helper()
	requests := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /studies/s1/instances", func(w http.ResponseWriter, _ *http.Request) {
		entries := make([]string, len(files))
		for i := range files {
			entries[i] = fmt.Sprintf(`{"ID":"i%d","Type":"Instance"}`, i)
		}
		fmt.Fprintf(w, "[%s]", strings.Join(entries, ","))
	})
	for i, file := range files {
		mux.HandleFunc(fmt.Sprintf("GET /instances/i%d/file", i), func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(file)
		})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if requests <= failures {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	a := newArchive(server.URL + "/")
	a.pause = time.Millisecond
	return a, &requests
}

func tissueFile() []byte {
	stored := make([]int, 400)
	for i := range stored {
		stored[i] = 1024 + 50 + 20*(i%2) // two grey levels in turn: deviation 10 HU
	}
	return newFile(explicitLittleEndian).ct(20, stored).buf.Bytes()
}

func TestMeasuresAStudyThroughTheArchive(t *testing.T) {
	a, requests := fakeArchive(t, 2, tissueFile(), tissueFile())
	found, err := measure(context.Background(), a, "s1")
	if err != nil {
		t.Fatal(err)
	}
	if found.Slices != 2 || found.NoiseHU < 9 || found.NoiseHU > 11 {
		t.Errorf("%+v", found)
	}
	if *requests != 5 {
		t.Errorf("%d requests, want 2 refused, 1 list, 2 files", *requests)
	}
}

func TestArchiveErrorsAreNamed(t *testing.T) {
	a, requests := fakeArchive(t, 0)
	if _, err := measure(context.Background(), a, "none"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown study: %v", err)
	}
	if *requests != 1 {
		t.Errorf("%d requests: a 404 must not be repeated", *requests)
	}
	if _, err := measure(context.Background(), a, "s1"); err == nil || !strings.Contains(err.Error(), "0 instances") {
		t.Errorf("empty study: %v", err)
	}
	down, requests := fakeArchive(t, 99)
	if _, err := measure(context.Background(), down, "s1"); err == nil || *requests != attempts {
		t.Errorf("archive in trouble: %v after %d requests", err, *requests)
	}
	a, _ = fakeArchive(t, 0, []byte("junk"))
	if _, err := measure(context.Background(), a, "s1"); err == nil || !strings.Contains(err.Error(), "instance i0: not a DICOM file") {
		t.Errorf("junk: %v", err)
	}
}

func TestResultFileHoldsFiguresOrReason(t *testing.T) {
	a, _ := fakeArchive(t, 0, tissueFile())
	path := filepath.Join(t.TempDir(), "result")
	if err := run(context.Background(), []string{"measure", "--archive", a.base, "--study", "s1", "--result", path}); err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile(path)
	var found figures
	if err := json.Unmarshal(content, &found); err != nil || found.Slices != 1 {
		t.Errorf("%s: %v", content, err)
	}
	if err := run(context.Background(), []string{"measure", "--archive", a.base, "--study", "no", "--result", path}); err == nil {
		t.Error("an unknown study must fail")
	}
	if content, _ = os.ReadFile(path); !strings.Contains(string(content), "404") {
		t.Errorf("result after a failure: %s", content)
	}
}

func TestVerdictFollowsTheLimits(t *testing.T) {
	server := httptest.NewServer(limits{acceptable: 35, review: 50}.handler())
	defer server.Close()
	post := func(body string) (int, string) {
		response, err := http.Post(server.URL+"/v1/verdict", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var v verdict
		if response.StatusCode == http.StatusOK {
			if err := json.NewDecoder(response.Body).Decode(&v); err != nil {
				t.Fatal(err)
			}
		}
		return response.StatusCode, v.Verdict
	}
	for noise, want := range map[float64]string{27.5: "acceptable", 35: "acceptable", 35.5: "review", 50: "review", 50.5: "repeat"} {
		if code, got := post(fmt.Sprintf(`{"noiseHu":%g,"slices":4}`, noise)); code != 200 || got != want {
			t.Errorf("%g HU: %d %q, want %q", noise, code, got, want)
		}
	}
	for _, body := range []string{``, `{}`, `{"noiseHu":1}`, `{"noiseHu":-1,"slices":4}`, `{"noise":1,"slices":4}`} {
		if code, _ := post(body); code != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", body, code)
		}
	}
}

func TestLimitsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, args := range [][]string{{"serve", "--acceptable-hu=0"}, {"serve", "--acceptable-hu=60"}, {"unknown"}, {}} {
		if err := run(context.Background(), args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func TestServerEndsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"serve", "--listen", "127.0.0.1:0"}) }()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("still running")
	}
}
