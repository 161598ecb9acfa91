//go:build cgo && linux

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static int limited;

int onearena_limited(void) { return limited; }

// Before main, and so before Go's threads: arenas that exist stay.
__attribute__((constructor)) static void limit(void) {
#ifdef M_ARENA_MAX
  const char* tunables = getenv("GLIBC_TUNABLES");
  if (getenv("MALLOC_ARENA_MAX") != NULL) return;
  if (tunables != NULL && strstr(tunables, "arena_max") != NULL) return;
  limited = mallopt(M_ARENA_MAX, 1);
#endif
}
