package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/serving"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type serveCommand struct {
	modelFlags
	inputFlags
	listening            serving.Listening
	options              serving.Options
	tokenFile            string
	times                int
	maxBodyMB, maxMemory int
	trace                string
}

func newServe() *cobra.Command {
	s := &serveCommand{}
	cmd := &cobra.Command{Use: "serve --model MODEL[,MODEL…] [flags]",
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) }}
	s.modelFlags.register(cmd)
	s.registerPictures(cmd)
	flags := cmd.Flags()
	flags.Lookup("model").Usage = "names of the `MODELS`, separated by commas; see \"" + program + " models\""
	_ = flags.MarkHidden("batch") // it is the client that knows
	flags.StringVar(&s.listening.HTTP, "listen", "127.0.0.1:8080", "`ADDRESS` of HTTP, or unix:PATH")
	flags.StringVar(&s.listening.GRPC, "grpc", "", "`ADDRESS` of gRPC, or unix:PATH (default: none)")
	flags.StringVar(&s.tokenFile, "token-file", "", "`FILE` with the token that requests must show")
	flags.BoolVar(&s.listening.Insecure, "insecure-no-token", false,
		"listen on addresses of other machines without a token")
	flags.StringVar(&s.listening.Certificate, "tls-cert", "", "`FILE` of the certificate, for TLS (PEM)")
	flags.StringVar(&s.listening.Key, "tls-key", "", "`FILE` of its key")
	flags.StringSliceVar(&s.options.Hosts, "allow-host",
		nil, "`NAMES` that the service is called by besides localhost and addresses, where there is no token; *.example.org for those below, * for all")
	addCount(cmd, &s.options.MaxBatch, "max-batch", 32, 1, "most images computed together")
	flags.DurationVar(&s.options.MaxDelay, "max-delay", 5*time.Millisecond,
		"longest that a run waits for other requests to join it, where there are several clients")
	addCount(cmd, &s.options.MaxQueue, "max-queue", 256, 1, "most images that wait; requests beyond are refused")
	addCount(cmd, &s.maxBodyMB, "max-body", 256, 1, "most megabytes (MiB) of a request")
	addCount(cmd, &s.maxMemory, "max-memory", 2048, 1,
		"most megabytes (MiB) that requests and results take together, beside the models")
	addCount(cmd, &s.times, "times", convert.DefaultTimes, 1, "most timesteps of a presentation")
	flags.DurationVar(&s.listening.Drain, "drain", time.Minute,
		"longest that accepted requests may take after a signal to stop")
	flags.StringVar(&s.trace, "trace", "",
		"write when each run was decoded, run and copied to `FILE` (JSON), for ui.perfetto.dev or chrome://tracing")
	obey(cmd, notBoth("token-file", "insecure-no-token"))
	return cmd
}

func (s *serveCommand) run(cmd *cobra.Command) (err error) {
	names := splitList(s.model)
	if len(names) == 0 {
		return usagef("which model? give --model NAME; %s models lists them", program)
	}
	if err := s.check(cmd); err != nil {
		return err
	}
	con := commandConsole(cmd)
	s.options.Log = con.Log()
	trace, err := newTrace(con, s.trace, "serve")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trace.close()) }()
	if s.trace != "" {
		s.options.Trace = trace.span
	}
	service, err := serving.New(names, s.options)
	if err != nil {
		return err
	}
	var models []*tfconvrnn.Model
	defer func() {
		err = errors.Join(err, service.Close())
		for _, model := range models {
			model.Close()
		}
	}()
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	listening := make(chan struct{})
	s.listening.Listening = func(web, calls net.Addr) {
		con.Note("listening: %s", s.listening.Describe(web, calls))
		close(listening)
	}
	served := make(chan error, 1)
	go func() { served <- service.Serve(ctx, s.listening) }()
	select {
	case err := <-served:
		return s.remedy(err)
	case <-listening:
	}
	for _, name := range names {
		f := s.modelFlags
		f.model = name
		model, err := loadModel(cmd, con, &f, s.times)
		if err == nil {
			models = append(models, model)
			err = service.Add(ctx, model)
		}
		if err != nil {
			stop()
			err = errors.Join(err, <-served)
			if cmd.Context().Err() != nil {
				return nil // asked to stop meanwhile
			}
			return err
		}
	}
	con.Note("ready")
	err = <-served
	if err == nil {
		con.Note("stopped; every request that was accepted is answered")
	}
	return err
}

// check completes the options by what the flags say.
func (s *serveCommand) check(cmd *cobra.Command) (err error) {
	if cmd.Flags().Changed("batch") {
		return usagef("serve has no --batch; --max-batch bounds what is computed together")
	}
	if s.listening.HTTP == "" && s.listening.GRPC == "" {
		return usagef("nothing to listen on: give --listen or --grpc")
	}
	if s.options.MaxDelay == 0 {
		s.options.MaxDelay = -1
	}
	s.options.MaxBody, s.options.MaxMemory = int64(s.maxBodyMB)<<20, int64(s.maxMemory)<<20
	if s.tokenFile != "" {
		s.options.Token, err = serving.ReadToken(s.tokenFile)
		if errors.Is(err, serving.ErrToken) {
			err = advise(err, "head -c 24 /dev/urandom | base64 > %s", s.tokenFile)
		}
		if err != nil {
			return inputError{err}
		}
	}
	if s.options.Preprocessing, err = s.preprocessing(); err != nil {
		return err
	}
	devices, err := s.gpuFlags.devices(s.device)
	if err != nil {
		return err
	}
	s.options.AtOnce = len(devices)
	_, err = s.loadOptions(s.times)
	return err
}

// remedy says what to do where an address must not be listened on.
func (s *serveCommand) remedy(err error) error {
	if errors.Is(err, tfconvrnn.ErrOption) && strings.Contains(err.Error(), "no token") {
		return fmt.Errorf("%w; give --token-file, or --insecure-no-token if that is meant", err)
	}
	return err
}
