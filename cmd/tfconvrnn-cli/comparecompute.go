package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/cachedir"
	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/recordings"
)

// gramFlags say where Gram matrices are kept.
type gramFlags struct {
	folder string
	size   int64
}

// folderOf is the cache's, "" for none.
func (f *gramFlags) place() (string, error) {
	switch f.folder {
	case "none":
		return "", nil
	case "":
		return cachedir.Grams()
	}
	return f.folder, nil
}

func (f *gramFlags) open() (*compare.GramCache, error) {
	folder, err := f.place()
	if err != nil || folder == "" {
		return nil, err
	}
	return compare.NewGramCache(folder, f.size), nil
}

// registerGrams adds the flags of commands that compare by Gram matrices.
func (f *featureFlags) registerGrams(cmd *cobra.Command) {
	f.registerComputed(cmd)
	cmd.Flags().StringVar(&f.grams.folder, "gram-cache",
		"", "`DIR` to keep products of features in, from which the same features are compared again without being read or computed; none for none (default: in the user's cache)")
	addSize(cmd, &f.grams.size, "gram-cache-size", "8GB", 0, "most that is kept; what was not used for longest goes first")
}

// registerComputed adds the flags of commands that can compute the features themselves. Those of the same names are
// registered before.
func (f *featureFlags) registerComputed(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.computed, f.grams.folder = &computedFlags{}, "none"
	addChoice(cmd, &f.computed.keep, "features-in", extraction.KeepAuto,
		"with --model, `PLACE` of the features until they are compared: memory, file, or passes, in each of which the model computes only as many as may be in memory, and none are written; auto takes the first of these for which there is room",
		extraction.Keeps()...)
	addSize(cmd, &f.computed.memory, "features-memory", "", 1,
		"`SIZE` of features that may be in memory, such as 4GB (default: a quarter of what is available)")
	e, others := &f.computed.extract, &cobra.Command{}
	e.modelFlags.register(others)
	e.presentationFlags.register(others)
	e.inputFlags.register(others)
	addList(others, &e.areas, "areas", "brain `AREAS` whose best-matching layers to compute: V4, pIT, cIT, aIT, IT")
	others.Flags().StringArrayVar(&e.recipe.Selections, "select", nil, "`UNITS` of a layer to take, as extract has it")
	others.Flags().StringArrayVar(&e.recipe.Reductions, "reduce", nil, "`REDUCTION` of the features, as extract has it")
	others.Flags().VisitAll(func(flag *pflag.Flag) {
		if flags.Lookup(flag.Name) == nil {
			if flag.Shorthand != "" && flags.ShorthandLookup(flag.Shorthand) != nil {
				flag.Shorthand = ""
			}
			flags.AddFlag(flag)
			f.computed.names = append(f.computed.names, flag.Name)
		}
	})
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch f.computed.stimuli = args; {
		case f.computed.asked() && f.features != "":
			return usagef("--features are in a file already; leave out --model, or --features")
		case f.computed.asked() && len(f.layers)+len(e.areas) == 0:
			return usagef("which layers? give --layers conv9,conv10, --layers all, or --areas IT")
		case f.computed.asked():
			return nil
		}
		for _, name := range append([]string{"features-in", "features-memory"}, f.computed.names...) {
			if flags.Changed(name) {
				return usagef("--%s is for features that are computed, with --model", name)
			}
		}
		return noArguments(cmd, args)
	}
	_ = cmd.RegisterFlagCompletionFunc("model", completeModels)
}

// computedFlags name features that a model computes when they are needed.
type computedFlags struct {
	extract extractCommand
	stimuli []string
	names   []string // of the flags
	keep    extraction.Keep
	memory  int64 // of features, 0 for the default
}

func (f *computedFlags) asked() bool { return f != nil && f.extract.model != "" }

// String says what the features are, for results.
func (f *computedFlags) String() string { return f.extract.model }

// open returns the features, which are extracted beside the cache as soon as one is asked for whose Gram matrix is
// not kept. After an interruption the same command goes on there. done closes the model, and removes what was extracted
// once all is compared.
func (f *computedFlags) open(cmd *cobra.Command, from *featureFlags, c *console) (file *recordings.FeatureFile,
	done func(compared bool), err error) {
	e := &f.extract
	folder, err := from.grams.place()
	if err == nil && folder == "" {
		folder, err = cachedir.Grams()
	}
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		return nil, nil, err
	}
	e.layers, e.format, e.resume = from.layers, string(features.NPZ), true
	e.recipe.AllTimesteps, e.recipe.OnError, e.recipe.DataType = true, extraction.Fail, features.Float32
	out := filepath.Join(folder, f.name(cmd)+features.NPZ.Suffix()) // of which single timesteps are read fast
	e.out = out
	if _, err := os.Lstat(out); err == nil {
		e.out = filepath.Join(folder, "unused"+features.NPZ.Suffix()) // extract would refuse to replace it
	}
	e.compares, e.discards = true, f.keep == extraction.KeepAuto
	plan, err := e.plan(cmd)
	if err != nil {
		return nil, nil, err
	}
	e.out = out
	draft, err := e.prepare(cmd, f.stimuli, plan, &extractTrace{console: c}, c)
	if err != nil {
		return nil, nil, err
	}
	model, err := loadModel(cmd, c, &e.modelFlags, plan.times)
	if err != nil {
		draft.Close()
		return nil, nil, err
	}
	run := &passRun{console: c, draft: draft, times: plan.times, shown: c.Stages()}
	file, remove, err := draft.Deferred(cmd.Context(), model, extraction.DeferredOptions{
		Keep: f.keep, Memory: f.memory, Pass: run.pass, Warn: c.warnNotice,
		Run: func(into features.Writer) error {
			e.into = into
			_, err := e.extract(cmd.Context(), plan, draft, model, &extractTrace{console: c}, c)
			var mismatch *features.ResumeMismatchError
			if errors.As(err, &mismatch) {
				return fmt.Errorf("%w; remove %s*", err, out)
			}
			return err
		},
	})
	done = func(compared bool) {
		run.shown.End()
		if !compared && run.whole > 0 && from.grams.folder != "none" {
			c.Note("what complete passes computed is kept; the same command goes on with the next")
		}
		draft.Close()
		model.Close()
		if compared {
			_ = remove()
		}
	}
	if err != nil {
		done(false)
		return nil, nil, err
	}
	return file, done, nil
}

// passRun shows how far passes of a model are.
type passRun struct {
	console *console
	draft   *extraction.Draft
	times   int
	shown   *terminal.Stages
	begun   time.Time
	whole   int // passes that are complete
}

// pass says what the first pass begins, and, once it is known, about how long all take.
func (r *passRun) pass(p compare.Pass) extraction.RunOptions {
	stimuli := r.draft.Recipe().Stimuli
	total := int64(p.Of) * int64(stimuli)
	r.whole = p.Number - 1
	if p.Number == 1 {
		r.shown.End()
		r.console.Note("in passes: %s, %s, %s, of which nothing is written: the model runs %s over all stimuli …",
			plural(stimuli, "stimulus"), plural(r.times, "timestep"), humanize.Bytes(uint64(r.draft.Size())),
			plural(p.Of, "time"))
		r.begun = time.Now()
	}
	before, said := int64(p.Number-1)*int64(stimuli), p.Number > 1 || p.Of == 1
	o := extraction.RunOptions{
		Progress: func(n int) {
			task, _ := r.shown.At("extracting", unitImages, total)
			task.Set(before+int64(n), total)
			if spent := time.Since(r.begun); !said && n > 0 && (spent > 20*time.Second || n == stimuli) {
				said = true
				all := time.Duration(float64(spent) / float64(n) * float64(total))
				r.console.Note("%d passes take about %v", p.Of, all.Round(time.Second))
			}
			if before+int64(n) == total {
				r.shown.End()
			}
		},
	}
	if p.Number == 1 { // all are told of the same pictures
		o.Warn, o.Note = r.console.warnNotice, r.console.noteNotice
	}
	return o
}

// name is the same for the same command in the same folder.
func (f *computedFlags) name(cmd *cobra.Command) string {
	h := sha256.New()
	folder, _ := os.Getwd()
	said := []string{folder, strings.Join(f.extract.layers, ",")}
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if slices.Contains(f.names, flag.Name) {
			said = append(said, flag.Name+"="+flag.Value.String())
		}
	})
	fmt.Fprintf(h, "%q %q", said, f.stimuli)
	return hex.EncodeToString(h.Sum(nil))[:16]
}
