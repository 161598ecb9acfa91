//go:build cgo && (linux || darwin)

#include <stdatomic.h>

#include "kernels.h"

int kernels_check(const kernels_evaluation *e) {
  if (e->instructions < 1 || e->instructions > KERNELS_LONGEST || e->operands < 1 || e->operands > KERNELS_OPERANDS)
    return KERNELS_INVALID;
  int written = 0;
  for (int i = 0; i < e->instructions; i++) {
    const kernels_instruction *n = &e->program[i];
    const int from[] = {n->a, n->b};
    for (int k = 0; k < 2; k++) {
      if (from[k] < 0 || from[k] >= KERNELS_REGISTERS + e->operands) return KERNELS_INVALID;
      if (from[k] < KERNELS_REGISTERS && (written >> from[k] & 1) == 0) return KERNELS_INVALID;
    }
    if (n->operation < 0 || n->operation >= KERNELS_INSTRUCTIONS || n->to < 0 || n->to >= KERNELS_REGISTERS)
      return KERNELS_INVALID;
    written |= 1 << n->to;
  }
  return KERNELS_OK;
}

// ROOM is how many floats a register has, unless there are more channels, and ITEM how many
// values one thread computes at a time.
enum { ROOM = 512, ITEM = 32768 };

typedef struct {
  const kernels_isa *isa;
  const kernels_evaluation *e;
  int64_t part, parts;  // pixels of a piece, pieces of an item
  int64_t room;
  atomic_int failed;
} pieces;

static void piece(void *argument, int64_t number) {
  pieces *p = argument;
  kernels_scratch *registers = kernels_take((size_t)p->room * KERNELS_REGISTERS * sizeof(float));
  if (registers == NULL) {
    atomic_store(&p->failed, 1);
    return;
  }
  int64_t from = number % p->parts * p->part, to = from + p->part;
  if (to > p->e->pixels) to = p->e->pixels;
  p->isa->evaluate(p->e, number / p->parts, from, to, registers->floats, p->room);
  kernels_give(registers);
}

int kernels_evaluate(const kernels_isa *isa, const kernels_evaluation *e) {
  if (e->batch == 0 || e->pixels == 0 || e->channels == 0) return KERNELS_OK;
  pieces p = {.isa = isa, .e = e, .room = e->channels > ROOM ? (e->channels + 15) / 16 * 16 : ROOM};
  p.part = ITEM / e->channels;
  if (p.part < 1) p.part = 1;
  p.parts = (e->pixels + p.part - 1) / p.part;
  kernels_parallel(e->threads, e->batch * p.parts, piece, &p);
  return atomic_load(&p.failed) ? KERNELS_MEMORY : KERNELS_OK;
}
