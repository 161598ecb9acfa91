package extraction

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/storage"
)

// The real planner and the real store, with workers that compute something else than a
// model, claim the same chunks, die, come back, are slow, lie about the time, and have
// their files damaged behind them, while the output is planned again for another plan
// and back. TFCONVRNN_SCHEDULES sets the number of schedules,
// TFCONVRNN_SCHEDULE the only one to run; scripts/prove_schedules.sh runs 2,000.

// tally counts what happened in schedules, so that it can be seen that they are not
// all dull.
type tally struct {
	schedules, workers, died, steps, computed, finishes, refused, afterwards int
	damaged, found                                                           int
	plannings, kept, displaced                                               int
}

// contest is an output that two plans are for, and what the store of each must be.
type contest struct {
	stimuli, batch, chunk int
	output                string
	plans                 [2]string
	want                  map[string]map[string]string // by the plan's hash
}

// simulation is one schedule under way.
type simulation struct {
	*schedule
	t     *testing.T
	seed  uint64
	count *tally
	v     *contest
	bases [2]*Plan
	all   []*agent
}

// open opens a plan, for an agent so that every operation on a store is a step.
func (s *simulation) open(plan int, a *agent) *Plan {
	p, err := Open(s.t.Context(), s.v.plans[plan])
	require.NoError(s.t, err)
	p.parallel = 1
	if a != nil {
		for _, store := range []*storage.Store{&p.place.chunks, &p.place.work, &p.place.works} {
			*store = &slowStore{*store, a, s.random.IntN(2) == 0}
		}
	}
	return p
}

func (s *simulation) worker(plan int) func(a *agent) error {
	return func(a *agent) error {
		p := s.open(plan, a)
		defer p.Close()
		w := p.newWorker(WorkerOptions{Name: a.name}, fakeEngine(p, func() { s.count.computed++ }))
		n := 1 + s.random.IntN(4)
		first, end, err := p.Shard(s.random.IntN(n), n)
		if err != nil || first == end {
			return err
		}
		list := slices.Collect(rotated(first, end, s.random.IntN(end-first)))
		if s.random.IntN(3) == 0 {
			s.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		}
		return w.Work(s.t.Context(), slices.Values(list), nil)
	}
}

func (s *simulation) finisher(plan int) func(a *agent) error {
	return func(a *agent) error {
		p := s.open(plan, a)
		defer p.Close()
		_, err := p.Finish(s.t.Context(), nil)
		if err == nil {
			s.checkSealed()
		}
		return err
	}
}

func (s *simulation) planner(plan int, replace bool) func(a *agent) error {
	return func(a *agent) error {
		p := s.open(plan, a)
		defer p.Close()
		before, err := s.bases[1-plan].Status(s.t.Context(), false)
		require.NoError(s.t, err)
		err = p.Begin(s.t.Context(), replace)
		if errors.Is(err, ErrOtherPlan) {
			require.False(s.t, replace, "seed %d", s.seed)
			s.count.kept++
			return nil
		}
		if err == nil && !replace {
			require.Zero(s.t, before.Done*min(1, len(p.Displaced())), "seed %d: chunks of another plan are gone", s.seed)
		}
		return err
	}
}

// checkSealed makes sure that a store that is sealed holds what its plan says, and nothing else.
func (s *simulation) checkSealed() {
	seal, err := readSeal(s.t.Context(), s.bases[0].place.final)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	require.NoError(s.t, err)
	require.Equal(s.t, s.v.want[seal.Plan], content(s.t, s.v.output), "seed %d", s.seed)
}

func (s *simulation) sealed() bool {
	_, err := readSeal(s.t.Context(), s.bases[0].place.final)
	return err == nil
}

// outcome makes sure that an agent ended as it may.
func (s *simulation) outcome(a *agent) {
	switch {
	case a.err == nil || errors.Is(a.err, errDied):
	case errors.Is(a.err, ErrSealed):
		s.count.afterwards++
		require.True(s.t, s.sealed(), "seed %d: %s: %v", s.seed, a.name, a.err)
	case errors.Is(a.err, ErrIncomplete):
		s.count.refused++
	case errors.Is(a.err, ErrOtherPlan):
		s.count.displaced++
	case errors.Is(a.err, ErrNotBegun) || errors.Is(a.err, errBegunAnew):
		s.count.displaced++ // its output was between two plans, or became its own again
	default:
		require.NoError(s.t, a.err, "seed %d: %s", s.seed, a.name)
	}
}

// damage has a disk forget, or invent, when nobody is verifying.
func (s *simulation) damage() {
	folder := s.bases[s.random.IntN(2)].place.chunks.String()
	if _, err := os.Stat(folder); err != nil {
		return
	}
	var files []string
	for name := range content(s.t, folder) {
		files = append(files, name)
	}
	if slices.Sort(files); len(files) == 0 {
		return
	}
	name := filepath.Join(folder, files[s.random.IntN(len(files))])
	data, err := os.ReadFile(name)
	require.NoError(s.t, err)
	switch s.random.IntN(3) {
	case 0:
		require.NoError(s.t, os.Remove(name))
	case 1:
		require.NoError(s.t, os.WriteFile(name, data[:len(data)/2], 0o666))
	default:
		data[s.random.IntN(len(data))] ^= 1 << s.random.IntN(8)
		require.NoError(s.t, os.WriteFile(name, data, 0o666))
	}
	s.count.damaged++
}

func (s *simulation) begin(name string, run func(*agent) error) {
	s.all = append(s.all, s.start(name, run))
}

func (s *simulation) some(kind byte) bool {
	return slices.ContainsFunc(s.agents, func(a *agent) bool { return a.name[0] == kind })
}

// run lets workers, finishers and planners of both plans loose. Sleepers are processes
// that wake up when everything is over.
func (s *simulation) run(sleepers int) {
	random, count := s.random, s.count
	workers, finishing, planning := 0, 0, 0
	most := 2 + random.IntN(5)
	current := 0
	for workers < most || len(s.agents) > sleepers || s.some('p') {
		count.steps++
		switch {
		case workers < most && (len(s.agents) == 0 || random.IntN(12) == 0):
			workers++
			count.workers++
			plan := current
			if random.IntN(4) == 0 {
				plan = 1 - current // it was queued when the output was another's
			}
			s.begin(fmt.Sprintf("w%d", workers), s.worker(plan))
		case random.IntN(60) == 0 && finishing < 3:
			finishing++
			count.finishes++
			s.begin(fmt.Sprintf("f%d", finishing), s.finisher(random.IntN(2)))
		case random.IntN(70) == 0 && planning < 2 && !s.some('p'):
			planning++
			count.plannings++
			current = random.IntN(2)
			s.begin(fmt.Sprintf("p%d", planning), s.planner(current, random.IntN(3) > 0))
		case random.IntN(150) == 0 && !s.some('f'):
			s.damage()
		case len(s.agents) > 0:
			// Some are much slower than others.
			a := s.agents[min(random.IntN(len(s.agents)), random.IntN(len(s.agents)))]
			die := random.IntN(40) == 0
			if die {
				count.died++
			}
			s.resume(a, !die)
		}
	}
}

// complete is somebody who starts what is missing of a plan again, as the messages say.
func (s *simulation) complete(plan int) *Finished {
	t, ctx := s.t, s.t.Context()
	for attempt := 0; ; attempt++ {
		require.Less(t, attempt, 5, "seed %d", s.seed)
		p := s.open(plan, nil)
		w := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
		missing, err := p.Missing(ctx, 0, p.Chunks())
		require.NoError(t, err)
		if err := w.Work(ctx, slices.Values(missing), nil); !errors.Is(err, ErrSealed) {
			require.NoError(t, err, "seed %d", s.seed)
		}
		status, err := p.Status(ctx, false)
		require.NoError(t, err)
		require.Equal(t, p.Chunks(), status.Done, "seed %d", s.seed)
		finished, err := p.Finish(ctx, nil)
		p.Close()
		if errors.Is(err, ErrIncomplete) {
			s.count.found++
			continue
		}
		require.NoError(t, err, "seed %d", s.seed)
		return finished
	}
}

// simulate runs one schedule and leaves the sealed store of one of the plans.
func simulate(t *testing.T, v *contest, seed uint64, count *tally) (hash string) {
	random := rand.New(rand.NewPCG(seed, 9))
	s := &simulation{schedule: &schedule{random: random}, t: t, seed: seed, count: count, v: v}
	ctx := t.Context()
	for i := range s.bases {
		s.bases[i] = s.open(i, nil)
		defer s.bases[i].Close()
	}
	require.NoError(t, s.bases[0].Begin(ctx, false))
	s.run(random.IntN(3))

	last := random.IntN(2)
	final := s.bases[last]
	if _, err := final.Sealed(ctx); err != nil {
		if err = final.Begin(ctx, false); errors.Is(err, ErrOtherPlan) {
			count.kept++
			err = final.Begin(ctx, true)
		}
		require.NoError(t, err, "seed %d", seed)
	}
	finished := s.complete(last)
	require.Equal(t, final.Chunks(), finished.Chunks)
	s.checkSealed()
	for len(s.agents) > 0 {
		s.resume(s.agents[random.IntN(len(s.agents))], true)
	}
	for _, a := range s.all {
		s.outcome(a)
	}
	again, err := final.Finish(ctx, nil)
	require.NoError(t, err, "seed %d", seed)
	require.True(t, again.Already)
	require.Equal(t, finished.Seal, again.Seal)
	count.schedules++
	return final.Hash()
}

// contests returns outputs of several sizes, with two plans each: of other weights, or of
// other stimuli.
func contests(t *testing.T) (list []*contest) {
	for i, v := range []*contest{{stimuli: 29, batch: 3, chunk: 6}, {stimuli: 40, batch: 4, chunk: 4},
		{stimuli: 17, batch: 4, chunk: 2}, {stimuli: 5, batch: 8, chunk: 3}, {stimuli: 24, batch: 1, chunk: 5}} {
		dir := fastFolder(t)
		v.output, v.want = filepath.Join(dir, "store.zarr"), map[string]map[string]string{}
		for k := range v.plans {
			v.plans[k] = filepath.Join(dir, fmt.Sprintf("%d.plan", k))
			other := filepath.Join(dir, fmt.Sprint(k))
			require.NoError(t, os.Mkdir(other, 0o777))
			request := testRequest(writeStimuli(t, other, v.stimuli+k*(i%2), true), v.output, v.batch)
			request.ChunkStimuli, request.Replace, request.BlankSHA256 = v.chunk, true, fmt.Sprint(k)
			require.NoError(t, Create(t.Context(), v.plans[k], request, false))
			// What one worker makes, undisturbed.
			p, err := Open(t.Context(), v.plans[k])
			require.NoError(t, err)
			require.NoError(t, p.Begin(t.Context(), false))
			w := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
			require.NoError(t, w.Work(t.Context(), chunkRange(0, p.Chunks()), nil))
			_, err = p.Finish(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, VerifyStore(t.Context(), v.output))
			require.NoError(t, p.Close())
			v.want[p.Hash()] = content(t, v.output)
			require.NoError(t, os.RemoveAll(v.output))
		}
		require.Len(t, v.want, 2)
		list = append(list, v)
	}
	return list
}

func TestSchedules(t *testing.T) {
	schedules := 60
	if n, err := strconv.Atoi(os.Getenv("TFCONVRNN_SCHEDULES")); err == nil {
		schedules = n
	}
	only, single := os.LookupEnv("TFCONVRNN_SCHEDULE")
	list := contests(t)
	count := &tally{}
	for seed := range uint64(schedules) {
		if single && only != fmt.Sprint(seed) {
			continue
		}
		v := list[seed%uint64(len(list))]
		hash := simulate(t, v, seed, count)
		require.Equal(t, v.want[hash], content(t, v.output), "seed %d", seed)
		left, err := filepath.Glob(v.output + ".*")
		require.NoError(t, err)
		require.Empty(t, left, "seed %d", seed)
		require.NoError(t, os.RemoveAll(v.output))
	}
	t.Logf("%d schedules of %d workers, %d finishes and %d plannings of two plans in %d steps: %d died, %d stimuli computed by them, %d finishes refused, %d processes outlived the sealing, %d were refused as of another plan, %d plannings refused to discard chunks, %d files damaged (%d times found at the last finish): all complete, all the same bytes",
		count.schedules, count.workers, count.finishes, count.plannings, count.steps, count.died, count.computed,
		count.refused, count.afterwards, count.displaced, count.kept, count.damaged, count.found)
	assert.Positive(t, count.died)
	if !single {
		assert.Positive(t, count.displaced)
	}
}

// What a worker of the same process has written is not read again, but must be there.
func TestFinishKnowsWhatItsWorkersWrote(t *testing.T) {
	dir := fastFolder(t)
	plan, output := filepath.Join(dir, "test.plan"), filepath.Join(dir, "store.zarr")
	request := testRequest(writeStimuli(t, dir, 20, false), output, 4)
	request.ChunkStimuli = 4
	require.NoError(t, Create(t.Context(), plan, request, false))
	p, err := Open(t.Context(), plan)
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Begin(t.Context(), false))
	others := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
	require.NoError(t, others.Work(t.Context(), chunkRange(0, 2), nil))
	own := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
	require.NoError(t, own.Work(t.Context(), chunkRange(0, p.Chunks()), nil))

	file := func(chunk int) string {
		first, _ := p.Rows(chunk)
		return filepath.Join(output+".partial", p.Hash(), p.store.ChunkName(0, first/p.store.ChunkRows()))
	}
	flip := func(chunk int) {
		content, err := os.ReadFile(file(chunk))
		require.NoError(t, err)
		content[len(content)/2] ^= 1
		require.NoError(t, os.WriteFile(file(chunk), content, 0o666))
	}
	repaired := func(damaged ...int) {
		t.Helper()
		_, err := p.Finish(t.Context(), nil, own)
		var incomplete *IncompleteError
		require.ErrorAs(t, err, &incomplete)
		assert.Equal(t, damaged, incomplete.Corrupt)
		require.NoError(t, own.Work(t.Context(), slices.Values(damaged), nil))
	}
	flip(1) // another's
	require.NoError(t, os.Truncate(file(3), 5))
	repaired(1, 3)
	require.NoError(t, os.Remove(file(4)))
	repaired(4)
	// Another process has written the chunk again, with other bytes.
	require.NoError(t, p.place.work.Remove(t.Context(), recordName(2)))
	again := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
	record, err := again.Chunk(t.Context(), 2)
	require.NoError(t, err)
	record.Files[0].SHA256 = strings.Repeat("0", 64)
	text, err := json.Marshal(record)
	require.NoError(t, err)
	require.NoError(t, p.place.work.Put(t.Context(), recordName(2), text))
	repaired(2)

	flip(3)
	_, err = p.Finish(t.Context(), nil, own)
	require.NoError(t, err)
	assert.ErrorIs(t, VerifyStore(t.Context(), output), ErrDamaged)
}
