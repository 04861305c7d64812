package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"
)

const maxRequestBytes = 4 << 10

// limits are a site's own, in HU; they are no clinical standard.
type limits struct {
	acceptable float64 // up to here nobody needs to look
	review     float64 // up to here a person decides; above it the scan is to be repeated
}

// verdict is the answer of the service.
type verdict struct {
	Verdict string `json:"verdict"` // acceptable, review or repeat
	Text    string `json:"text"`    // one line for people
}

// serveCommand runs the service until it is told to end.
func serveCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := flags.String("listen", ":8080", "address to listen on")
	var l limits
	flags.Float64Var(&l.acceptable, "acceptable-hu", 35, "noise up to this is acceptable, in HU")
	flags.Float64Var(&l.review, "review-hu", 50, "noise up to this needs a person, in HU")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !(l.acceptable > 0 && l.review >= l.acceptable) {
		return fmt.Errorf("--acceptable-hu %g must be positive and --review-hu %g not below it", l.acceptable, l.review)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: l.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Println("listening on", listener.Addr())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return server.Shutdown(grace)
	}
}

func (l limits) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /v1/verdict", l.answer)
	return mux
}

func (l limits) answer(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		NoiseHU *float64 `json:"noiseHu"`
		Slices  *int     `json:"slices"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := errors.Join(positive("noiseHu", asked.NoiseHU), positive("slices", asked.Slices)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// Writing fails only when the caller is gone, and then nobody is left to be told.
	_ = json.NewEncoder(w).Encode(l.judge(*asked.NoiseHU, *asked.Slices))
}

func positive[N int | float64](name string, value *N) error {
	if value == nil || *value <= 0 {
		return fmt.Errorf("%s: a positive number is required", name)
	}
	return nil
}

func (l limits) judge(noise float64, slices int) verdict {
	word, why := "repeat", fmt.Sprintf("above the review limit of %g HU", l.review)
	switch {
	case noise <= l.acceptable:
		word, why = "acceptable", fmt.Sprintf("within the limit of %g HU", l.acceptable)
	case noise <= l.review:
		word, why = "review", fmt.Sprintf("above the limit of %g HU", l.acceptable)
	}
	return verdict{Verdict: word, Text: fmt.Sprintf("%s: noise %.1f HU over %d slices, %s", word, noise, slices, why)}
}
