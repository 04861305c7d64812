// Command ct-quality is the program behind the ct-quality example: one binary, two roles.
//
//	ct-quality measure --archive URL --study ID   fetches a CT study from the archive and measures its noise
//	ct-quality serve --listen ADDR …              turns figures into a verdict by the limits of a site
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: ct-quality measure --archive URL --study ID [--result FILE]
       ct-quality serve [--listen ADDR] [--acceptable-hu N] [--review-hu N]
`

func main() {
	// As process 1 of a container the kernel ignores signals without a handler, so a pod told to end would
	// otherwise hold its place on the node for the whole grace period.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil:
	case ctx.Err() != nil:
		// Told to end, not failed: the code that a shell gives for SIGTERM.
		fmt.Fprintln(os.Stderr, "ct-quality: ended before it was done")
		os.Exit(143)
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "ct-quality:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return flag.ErrHelp
	}
	switch args[0] {
	case "measure":
		return measureCommand(ctx, args[1:])
	case "serve":
		return serveCommand(ctx, args[1:])
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}
