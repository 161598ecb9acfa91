package extraction

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/stimuli"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// The real planner and the real store, with workers that compute something else than a
// model, claim the same chunks, die, come back, are slow, lie about the time, and have
// their files damaged behind them. TFCONVRNN_SCHEDULES sets the number of schedules,
// TFCONVRNN_SCHEDULE the only one to run; scripts/prove_schedules.sh runs 2,000.

// fastFolder is a folder in memory, if there is one: every write is synced.
func fastFolder(t testing.TB) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		if dir, err := os.MkdirTemp("/dev/shm", "tfconvrnn-test-*"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

// writeStimuli writes a table of stimuli with columns, of a few files, some missing.
func writeStimuli(t testing.TB, dir string, count int, missing bool) string {
	t.Helper()
	for i := range 3 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.png", i)), []byte{byte(i)}, 0o666))
	}
	table := filepath.Join(dir, "stimuli.csv")
	file, err := os.Create(table)
	require.NoError(t, err)
	defer file.Close()
	w := bufio.NewWriter(file)
	fmt.Fprintln(w, "stimulus_id,path,number,size,word")
	for i := range count {
		file := i % 3
		if missing && i%7 == 3 {
			file = 99
		}
		fmt.Fprintf(w, "stimulus-%d,%d.png,%d,%d.5,w%d\n", i, file, i, i, i%5)
	}
	require.NoError(t, w.Flush())
	return table
}

func testRequest(table, output string, batch int) *Request {
	return &Request{
		Recipe: Recipe{
			Output: output, Weights: "seeded:1", Model: "timedecay_shallow", Device: "cpu", Precision: tfconvrnn.Float32, Layers: []string{"conv5", "imnetds"},
			Presentation: tfconvrnn.Custom(8, 4), AllTimesteps: true, Logits: false, Reductions: []string{"sparse(3,1)"}, DataType: "float32", OnError: "skip",
			BatchSize: batch, MaxFrames: 8, FramesPerSecond: 100,
		},
		Inputs: stimuli.Options{Inputs: []string{table}},
	}
}

// fakeEngine computes values that depend on the stimulus and on all others of its
// batch, as the last bits of a model's do.
func fakeEngine(p *Plan, chosen func()) engine {
	return func(ctx context.Context, records iter.Seq[*stimuli.Record], sink rowSink) error {
		var batch []stimuli.Record
		compute := func() error {
			sum := sha256.New()
			for i := range batch {
				fmt.Fprintf(sum, "%s %s\n", batch[i].ID, batch[i].SHA256)
			}
			composition := sum.Sum(nil)
			for i := range batch {
				chosen()
				rows := make([][]float32, len(p.layout.Streamed))
				var fault error
				if batch[i].SHA256 == "missing" {
					fault = stimuli.ErrMissing
				}
				for a, s := range p.layout.Streamed {
					n := 1
					for _, d := range s.RowShape {
						n *= d
					}
					seed := sha256.Sum256(fmt.Appendf(nil, "%x %d %d", composition, i, a))
					random := rand.New(rand.NewChaCha8(seed))
					for range n {
						v := random.Float32()
						if fault != nil {
							v = float32(math.NaN())
						}
						rows[a] = append(rows[a], v)
					}
				}
				for a, row := range rows {
					half := len(row) / 2 // rows come in parts
					for _, part := range [][]float32{row[:half], row[half:]} {
						if err := sink.add(a, part); err != nil {
							return err
						}
					}
				}
				if err := sink.end(fault); err != nil {
					return err
				}
			}
			batch = batch[:0]
			return nil
		}
		for r := range records {
			if batch = append(batch, *r); len(batch) == p.BatchSize {
				if err := compute(); err != nil {
					return err
				}
			}
		}
		if len(batch) > 0 {
			return compute()
		}
		return ctx.Err()
	}
}

// content hashes all files below a folder.
func content(t testing.TB, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		relative, _ := filepath.Rel(root, name)
		found[relative] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	}))
	return found
}

var errDied = errors.New("the process is dead")

// agent is a process of a schedule: it runs only when it is its turn, from one
// operation on a store to the next.
type agent struct {
	schedule *schedule
	name     string
	turn     chan bool // false: die
	waiting  chan bool // false: ended
	dead     bool
	err      error
}

type schedule struct {
	random *rand.Rand
	agents []*agent
}

// start begins an agent and lets it run up to its first operation.
func (s *schedule) start(name string, run func(*agent) error) *agent {
	a := &agent{schedule: s, name: name, turn: make(chan bool), waiting: make(chan bool)}
	s.agents = append(s.agents, a)
	go func() {
		<-a.turn
		a.err = run(a)
		a.waiting <- false
	}()
	s.resume(a, true)
	return a
}

// resume gives an agent its turn and waits for its next operation, or its end.
func (s *schedule) resume(a *agent, alive bool) {
	a.turn <- alive
	if !<-a.waiting {
		s.agents = slices.DeleteFunc(s.agents, func(b *agent) bool { return b == a })
	}
}

// step is called before an operation; an error means that the process died.
func (a *agent) step() error {
	if a.dead {
		return errDied
	}
	a.waiting <- true
	if alive := <-a.turn; !alive {
		a.dead = true
		return errDied
	}
	return nil
}

// slowStore is a store whose every operation is a step of a schedule.
type slowStore struct {
	storage.Store
	agent *agent
	lie   bool
}

func (s *slowStore) Put(ctx context.Context, name string, content []byte) error {
	if err := s.agent.step(); err != nil {
		if root := s.Store.String(); s.agent.schedule.random.IntN(2) == 0 {
			// It died while it wrote, before the renaming.
			_ = os.WriteFile(filepath.Join(root, "unfinished-"+s.agent.name), content[:len(content)/2], 0o666)
			if strings.HasSuffix(root, ".partial") {
				_ = os.Remove(filepath.Join(root, "unfinished-"+s.agent.name)) // it would lie in .work
			}
		}
		return err
	}
	if err := s.Store.Put(ctx, name, content); err != nil {
		return err
	}
	if s.lie {
		lie := time.Unix(s.agent.schedule.random.Int64N(4e9), 0)
		_ = os.Chtimes(filepath.Join(s.Store.String(), name), lie, lie)
	}
	return s.agent.step() // it may die right after
}

func (s *slowStore) PutFrom(ctx context.Context, name string, content io.Reader) error {
	if err := s.agent.step(); err != nil {
		return err
	}
	return s.Store.PutFrom(ctx, name, content)
}

func (s *slowStore) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := s.agent.step(); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, name, limit)
}

func (s *slowStore) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := s.agent.step(); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx, name)
}

func (s *slowStore) Stat(ctx context.Context, name string) (storage.Object, error) {
	if err := s.agent.step(); err != nil {
		return storage.Object{}, err
	}
	return s.Store.Stat(ctx, name)
}

func (s *slowStore) List(ctx context.Context, prefix string, each func(storage.Object) error) error {
	if err := s.agent.step(); err != nil {
		return err
	}
	return s.Store.List(ctx, prefix, each)
}

func (s *slowStore) Remove(ctx context.Context, name string) error {
	if err := s.agent.step(); err != nil {
		return err
	}
	return s.Store.Remove(ctx, name)
}

// tally counts what happened in schedules, so that it can be seen that they are not
// all dull.
type tally struct {
	schedules, workers, died, steps, computed, finishes, refused, afterwards int
	damaged, found                                                           int
}

// simulate runs one schedule and leaves the sealed store.
func simulate(t *testing.T, planFile string, seed uint64, count *tally) {
	random := rand.New(rand.NewPCG(seed, 9))
	s := &schedule{random: random}
	ctx := t.Context()
	open := func(a *agent) *Plan {
		p, err := Open(ctx, planFile)
		require.NoError(t, err)
		p.parallel = 1
		if a != nil {
			p.place.chunks = &slowStore{p.place.chunks, a, random.IntN(2) == 0}
			p.place.work = &slowStore{p.place.work, a, random.IntN(2) == 0}
		}
		return p
	}
	base := open(nil)
	defer base.Close()
	require.NoError(t, base.Begin(ctx, false))
	chunks := base.Chunks()

	worker := func(a *agent) error {
		p := open(a)
		defer p.Close()
		w := p.newWorker(WorkerOptions{Name: a.name}, fakeEngine(p, func() { count.computed++ }))
		n := 1 + random.IntN(4)
		first, end, err := p.Shard(random.IntN(n), n)
		if err != nil || first == end {
			return err
		}
		list := slices.Collect(p.Missing(first, end, random.IntN(end-first)))
		if random.IntN(3) == 0 {
			random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		}
		return w.Work(ctx, slices.Values(list), nil)
	}
	finisher := func(a *agent) error {
		p := open(a)
		defer p.Close()
		_, err := p.Finish(ctx, nil)
		return err
	}
	sealed := func() bool {
		_, err := base.Sealed(ctx)
		return err == nil
	}
	outcome := func(a *agent) {
		if a.err == nil || errors.Is(a.err, errDied) {
			return
		}
		switch {
		case errors.Is(a.err, ErrSealed):
			count.afterwards++
			require.True(t, sealed(), "seed %d: %s: %v", seed, a.name, a.err)
		case errors.Is(a.err, ErrIncomplete):
			count.refused++
		case errors.Is(a.err, fs.ErrNotExist) && sealed():
			count.afterwards++
		default:
			require.NoError(t, a.err, "seed %d: %s", seed, a.name)
		}
	}
	var all []*agent
	finishing := 0
	begin := 2 + random.IntN(5)
	sleepers := random.IntN(3) // processes that wake up when everything is over
	for started := 0; started < begin || len(s.agents) > sleepers; {
		count.steps++
		switch {
		case started < begin && (len(s.agents) == 0 || random.IntN(12) == 0):
			started++
			count.workers++
			all = append(all, s.start(fmt.Sprintf("w%d", started), worker))
		case random.IntN(60) == 0 && finishing < 3:
			finishing++
			count.finishes++
			all = append(all, s.start(fmt.Sprintf("f%d", finishing), finisher))
		case random.IntN(150) == 0 && !slices.ContainsFunc(s.agents, func(a *agent) bool { return a.name[0] == 'f' }) && !sealed():
			// A disk forgets, or invents, when nobody is verifying.
			var files []string
			for name := range content(t, base.place.chunks.String()) {
				files = append(files, name)
			}
			if slices.Sort(files); len(files) > 0 {
				name := filepath.Join(base.place.chunks.String(), files[random.IntN(len(files))])
				data, err := os.ReadFile(name)
				require.NoError(t, err)
				switch random.IntN(3) {
				case 0:
					require.NoError(t, os.Remove(name))
				case 1:
					require.NoError(t, os.WriteFile(name, data[:len(data)/2], 0o666))
				default:
					data[random.IntN(len(data))] ^= 1 << random.IntN(8)
					require.NoError(t, os.WriteFile(name, data, 0o666))
				}
				count.damaged++
			}
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
	// Somebody starts what is missing again, as the messages say.
	var finished *Finished
	for attempt := 0; ; attempt++ {
		require.Less(t, attempt, 5, "seed %d", seed)
		p := open(nil)
		w := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
		missing, err := p.Unwritten(ctx)
		require.NoError(t, err)
		if err := w.Work(ctx, slices.Values(missing), nil); !errors.Is(err, ErrSealed) {
			require.NoError(t, err, "seed %d", seed)
		}
		status, err := p.Status(ctx, false)
		require.NoError(t, err)
		require.Equal(t, chunks, status.Done, "seed %d", seed)
		finished, err = p.Finish(ctx, nil)
		p.Close()
		if errors.Is(err, ErrIncomplete) {
			count.found++
			continue
		}
		require.NoError(t, err, "seed %d", seed)
		break
	}
	require.Equal(t, chunks, finished.Chunks)
	for len(s.agents) > 0 {
		s.resume(s.agents[random.IntN(len(s.agents))], true)
	}
	for _, a := range all {
		outcome(a)
	}
	again, err := base.Finish(ctx, nil)
	require.NoError(t, err)
	require.True(t, again.Already)
	require.Equal(t, finished.Seal, again.Seal)
	count.schedules++
}

func TestSchedules(t *testing.T) {
	schedules := 60
	if n, err := strconv.Atoi(os.Getenv("TFCONVRNN_SCHEDULES")); err == nil {
		schedules = n
	}
	only, single := os.LookupEnv("TFCONVRNN_SCHEDULE")
	type variety struct {
		stimuli, batch, chunk int
		plan, output          string
		want                  map[string]string
	}
	var list []*variety
	for _, v := range []variety{{stimuli: 29, batch: 3, chunk: 6}, {stimuli: 40, batch: 4, chunk: 4}, {stimuli: 17, batch: 4, chunk: 2}, {stimuli: 5, batch: 8, chunk: 3}, {stimuli: 24, batch: 1, chunk: 5}} {
		dir := fastFolder(t)
		v.plan, v.output = filepath.Join(dir, "test.plan"), filepath.Join(dir, "store.zarr")
		request := testRequest(writeStimuli(t, dir, v.stimuli, true), v.output, v.batch)
		request.ChunkStimuli = v.chunk
		require.NoError(t, Create(t.Context(), v.plan, request, false))
		// What one worker makes, undisturbed.
		p, err := Open(t.Context(), v.plan)
		require.NoError(t, err)
		require.NoError(t, p.Begin(t.Context(), false))
		w := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
		require.NoError(t, w.Work(t.Context(), p.Missing(0, p.Chunks(), 0), nil))
		_, err = p.Finish(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, VerifyStore(t.Context(), v.output))
		require.NoError(t, p.Close())
		v.want = content(t, v.output)
		require.NoError(t, os.RemoveAll(v.output))
		list = append(list, &v)
	}
	count := &tally{}
	for seed := range uint64(schedules) {
		if single && only != fmt.Sprint(seed) {
			continue
		}
		v := list[seed%uint64(len(list))]
		simulate(t, v.plan, seed, count)
		require.Equal(t, v.want, content(t, v.output), "seed %d", seed)
		left, err := filepath.Glob(v.output + ".*")
		require.NoError(t, err)
		require.Empty(t, left, "seed %d", seed)
		require.NoError(t, os.RemoveAll(v.output))
	}
	t.Logf("%d schedules of %d workers and %d finishes in %d steps: %d died, %d stimuli computed by them, %d finishes refused, %d processes outlived the sealing, %d files damaged (%d times found at the last finish): all complete, all the same bytes",
		count.schedules, count.workers, count.finishes, count.steps, count.died, count.computed, count.refused, count.afterwards, count.damaged, count.found)
	assert.Positive(t, count.died)
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
	require.NoError(t, others.Work(t.Context(), p.Missing(0, 2, 0), nil))
	own := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
	require.NoError(t, own.Work(t.Context(), p.Missing(0, p.Chunks(), 0), nil))

	file := func(chunk int) string {
		first, _ := p.Rows(chunk)
		return filepath.Join(output+".partial", p.store.ChunkName(0, first/p.store.ChunkRows()))
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
