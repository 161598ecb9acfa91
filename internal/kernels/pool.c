//go:build cgo && (linux || darwin)

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels.h"

enum { MOST_HELPERS = 255, SPINS = 2000 };

typedef struct job {
  void (*body)(void *argument, int64_t item);
  void *argument;
  int64_t items;
  int threads;
  atomic_llong next;     // the first item that nobody has taken
  atomic_int helpers;    // at work on it
  struct job *link;
} job;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  job *jobs;
  int helpers, sleeping;
  atomic_int posted;   // changes when there is a new job
  atomic_int running;  // threads that compute, callers and helpers
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static void pause_a_little(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// work computes items until there are none, or, for a helper, until more threads compute
// than the job may use: another caller has come.
static void work(job *j, int helping) {
  while (!helping || atomic_load_explicit(&pool.running, memory_order_relaxed) <= j->threads) {
    int64_t item = atomic_fetch_add(&j->next, 1);
    if (item >= j->items) return;
    j->body(j->argument, item);
  }
}

// find returns a job that needs help. The lock is held.
static job *find(void) {
  for (job *j = pool.jobs; j != NULL; j = j->link) {
    if (atomic_load(&j->next) < j->items && atomic_load(&j->helpers) + 1 < j->threads &&
        atomic_load(&pool.running) < j->threads)
      return j;
  }
  return NULL;
}

static void *help(void *unused) {
  (void)unused;
  pthread_mutex_lock(&pool.lock);
  for (;;) {
    job *j = find();
    if (j != NULL) {
      atomic_fetch_add(&j->helpers, 1);
      atomic_fetch_add(&pool.running, 1);
      pthread_mutex_unlock(&pool.lock);
      work(j, 1);
      atomic_fetch_sub(&pool.running, 1);
      pthread_mutex_lock(&pool.lock);
      // The job is its caller's, who may return as soon as this is 0 and the lock free.
      if (atomic_fetch_sub(&j->helpers, 1) == 1) pthread_cond_broadcast(&pool.done);
      continue;
    }
    // The next job often comes at once.
    int seen = atomic_load(&pool.posted);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < SPINS && atomic_load_explicit(&pool.posted, memory_order_relaxed) == seen; i++)
      pause_a_little();
    pthread_mutex_lock(&pool.lock);
    if (atomic_load(&pool.posted) == seen) {
      pool.sleeping++;
      pthread_cond_wait(&pool.work, &pool.lock);
      pool.sleeping--;
    }
  }
  return NULL;
}

// hire starts helpers until there are as many as wanted, or no more can be had. They take
// no signals: Go's handlers need a stack of their own, which these threads lack. The
// lock is held.
static void hire(int wanted) {
  if (wanted > MOST_HELPERS) wanted = MOST_HELPERS;
  if (pool.helpers >= wanted) return;
  sigset_t all, before;
  sigfillset(&all);
  const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) sigdelset(&all, own[i]);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  while (pool.helpers < wanted) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, help, NULL) != 0) break;
    pthread_detach(thread);
    pool.helpers++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void kernels_parallel(int threads, int64_t items, void (*body)(void *argument, int64_t item), void *argument) {
  if (threads <= 1 || items <= 1) {
    for (int64_t i = 0; i < items; i++) body(argument, i);
    return;
  }
  job j = {.body = body, .argument = argument, .items = items, .threads = threads};
  atomic_fetch_add(&pool.running, 1);
  pthread_mutex_lock(&pool.lock);
  hire(threads - 1);
  j.link = pool.jobs;
  pool.jobs = &j;
  atomic_fetch_add(&pool.posted, 1);
  if (pool.sleeping > 0) {
    if (threads == 2 || items == 2) {
      pthread_cond_signal(&pool.work);
    } else {
      pthread_cond_broadcast(&pool.work);
    }
  }
  pthread_mutex_unlock(&pool.lock);
  work(&j, 0);
  atomic_fetch_sub(&pool.running, 1);
  for (int i = 0; i < SPINS && atomic_load_explicit(&j.helpers, memory_order_relaxed) > 0; i++) pause_a_little();
  pthread_mutex_lock(&pool.lock);
  for (job **p = &pool.jobs; *p != NULL; p = &(*p)->link) {
    if (*p == &j) {
      *p = j.link;
      break;
    }
  }
  // A helper for another job, which had as many threads as it may while this one computed.
  if (pool.jobs != NULL) {
    atomic_fetch_add(&pool.posted, 1);
    if (pool.sleeping > 0) pthread_cond_signal(&pool.work);
  }
  while (atomic_load(&j.helpers) > 0) pthread_cond_wait(&pool.done, &pool.lock);
  pthread_mutex_unlock(&pool.lock);
}

enum { HUGE_PAGE = 2 << 20 };

void *kernels_allocate(size_t bytes) {
  size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
  void *memory = NULL;
  if (posix_memalign(&memory, alignment, bytes) != 0) return NULL;
#if defined(__linux__)
  // The last page would be huge for a small rest.
  if (alignment == HUGE_PAGE) madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
  return memory;
}

static struct {
  pthread_mutex_t lock;
  kernels_scratch *free;
} scratch = {.lock = PTHREAD_MUTEX_INITIALIZER};

kernels_scratch *kernels_take(size_t bytes) {
  pthread_mutex_lock(&scratch.lock);
  // The smallest that is large enough, else the largest, which is made larger.
  kernels_scratch **best = NULL;
  for (kernels_scratch **p = &scratch.free; *p != NULL; p = &(*p)->next) {
    if (best == NULL) {
      best = p;
    } else if ((*best)->bytes < bytes ? (*p)->bytes > (*best)->bytes
                                      : (*p)->bytes >= bytes && (*p)->bytes < (*best)->bytes) {
      best = p;
    }
  }
  kernels_scratch *s = NULL;
  if (best != NULL) {
    s = *best;
    *best = s->next;
  }
  pthread_mutex_unlock(&scratch.lock);
  if (s == NULL) {
    s = calloc(1, sizeof(*s));
    if (s == NULL) return NULL;
  }
  if (s->bytes < bytes) {
    free(s->floats);
    s->bytes = 0;
    // Whole pages, of which the last is huge too.
    if (bytes >= HUGE_PAGE / 2 && bytes <= PTRDIFF_MAX) bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *memory = kernels_allocate(bytes);
    if (memory == NULL) {
      free(s);
      return NULL;
    }
    s->floats = memory;
    s->bytes = bytes;
  }
  return s;
}

void kernels_give(kernels_scratch *s) {
  if (s == NULL) return;
  pthread_mutex_lock(&scratch.lock);
  s->next = scratch.free;
  scratch.free = s;
  pthread_mutex_unlock(&scratch.lock);
}

void kernels_trim(void) {
  pthread_mutex_lock(&scratch.lock);
  kernels_scratch *s = scratch.free;
  scratch.free = NULL;
  pthread_mutex_unlock(&scratch.lock);
  while (s != NULL) {
    kernels_scratch *next = s->next;
    free(s->floats);
    free(s);
    s = next;
  }
}
