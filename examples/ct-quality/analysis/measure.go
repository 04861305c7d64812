package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

// measureCommand measures a study and leaves the figures where Kubernetes reads a container's result.
func measureCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("measure", flag.ContinueOnError)
	base := flags.String("archive", "", "base URL of the archive's REST interface")
	study := flags.String("study", "", "the archive's own id of the study")
	result := flags.String("result", "/dev/termination-log", "file for the result, at most 4 KiB of JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *base == "" || *study == "" {
		return errors.New("measure needs --archive and --study")
	}
	found, err := measure(ctx, newArchive(*base), *study)
	if err != nil {
		// The reason belongs where the result would have been, else only the pod's log has it.
		return errors.Join(err, os.WriteFile(*result, []byte(err.Error()), 0o644))
	}
	line, err := json.Marshal(found)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return os.WriteFile(*result, line, 0o644)
}

func measure(ctx context.Context, a archive, study string) (figures, error) {
	instances, err := a.instances(ctx, study)
	if err != nil {
		return figures{}, err
	}
	var meter noiseMeter
	for _, id := range instances {
		file, err := a.file(ctx, id)
		if err != nil {
			return figures{}, err
		}
		s, err := readSlice(file)
		if err != nil {
			return figures{}, fmt.Errorf("instance %s: %w", id, err)
		}
		meter.add(s)
	}
	return meter.result()
}
