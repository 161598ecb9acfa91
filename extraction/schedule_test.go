package extraction

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tfconvrnn/go/internal/storage"
)

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
			if strings.HasSuffix(filepath.Dir(root), ".partial") {
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
