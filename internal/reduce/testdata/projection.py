"""Projects a fixed vector with the matrix of sparse(d,seed) and prints the bits.

usage: projection.py N D SEED
"""

import sys

import numpy as np
import scipy.sparse


def sparse_projection(n, d, seed):
    """The d × n matrix of sparse(d,seed) for layers of n features."""
    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9
        z = (z ^ z >> 27) * 0x94D049BB133111EB
        return z ^ z >> 31
    gamma = 0x9E3779B97F4A7C15
    m = int(np.ceil(np.sqrt(n)))
    draws = np.arange(1, d * m + 1, dtype=np.uint64)
    z = mix(mix(np.array([seed], np.uint64) + gamma) + draws * gamma)
    values = np.where(z >> 63, -1.0, 1.0) * np.sqrt(n / (m * d))
    return scipy.sparse.csr_matrix((values, z % n, m * np.arange(d + 1)), shape=(d, n))


n, d, seed = map(int, sys.argv[1:])
x = (np.arange(n) % 17 - 8).astype(np.float32)
y = (sparse_projection(n, d, seed) @ x.astype(np.float64)).astype(np.float32)
print("\n".join(f"{v:.5e}" for v in y))
