package libtf

// ReturnFreeMemory gives memory that nothing uses any more back to the system. The
// runtime takes and frees tensors of many sizes from many threads, between which
// glibc's allocator keeps what it could reuse: without this, resident memory grows
// for hundreds of runs. It takes milliseconds, and the pages taken anew by the next
// run some more. It does nothing where the C library has no malloc_trim.
func ReturnFreeMemory() { trim() }
