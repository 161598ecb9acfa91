// Elementwise programs: a part of vector.h, included by it.

typedef int32_t integers __attribute__((vector_size(4 * LANES)));
typedef uint32_t naturals __attribute__((vector_size(4 * LANES)));

INLINE vector choose(integers condition, vector yes, vector no) {
  return (vector)((condition & (integers)yes) | (~condition & (integers)no));
}

INLINE vector broadcast(float x) { return x - (vector){0}; }

// exponential is e^x - 1, to 2e-7 of itself: x = n·ln 2 + r, and a Taylor polynomial of r.
INLINE vector exponential(vector x) {
  const vector most = broadcast(88), least = broadcast(-88);
  x = choose(x > most, most, x);
  x = choose(x < least, least, x);
  const float magic = 12582912;  // its last bit is a 1
  vector shifted = x * 1.44269504f + magic;
  naturals exponent = ((naturals)shifted << 23) + (127u << 23);
  vector n = shifted - magic;
  vector r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  vector p = r * (1.f / 5040) + 1.f / 720;
  p = p * r + 1.f / 120;
  p = p * r + 1.f / 24;
  p = p * r + 1.f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r;
  vector power = (vector)exponent;
  return power * p + (power - 1);
}

INLINE vector sigmoid_of(vector x) { return 1 / (2 + exponential(-x)); }

INLINE vector tanh_of(vector x) {
  vector e = exponential(x + x);
  return e / (e + 2);
}

INLINE vector elu_of(vector x) { return choose(x < 0, exponential(x), x); }
INLINE vector relu_of(vector x) { return choose(x < 0, (vector){0}, x); }

#define EACH(expression)                                                             \
  for (int64_t p = 0; p < pixels; p++, a += sa, b += sb, to += st) {                 \
    int64_t c = 0;                                                                   \
    for (; c + LANES <= channels; c += LANES) {                                      \
      vector x = load(a + c), y = load(b + c);                                       \
      (void)y;                                                                       \
      store(to + c, expression);                                                     \
    }                                                                                \
    if (c < channels) {                                                              \
      vector x = load_some(a + c, channels - c), y = load_some(b + c, channels - c); \
      (void)y;                                                                       \
      store_some(to + c, expression, channels - c);                                  \
    }                                                                                \
  }                                                                                  \
  break

static void step(int operation, float n, float *to, int64_t st, const float *a, int64_t sa, const float *b,
                 int64_t sb, int64_t pixels, int64_t channels) {
  if (st == channels && sa == channels && sb == channels) {
    channels *= pixels;
    pixels = 1;
  }
  switch (operation) {
    case KERNELS_ADD: EACH(x + y);
    case KERNELS_SUBTRACT: EACH(x - y);
    case KERNELS_MULTIPLY: EACH(x * y);
    case KERNELS_ADD_NUMBER: EACH(x + n);
    case KERNELS_MULTIPLY_NUMBER: EACH(x * n);
    case KERNELS_FROM_NUMBER: EACH(n - x);
    case KERNELS_SIGMOID: EACH(sigmoid_of(x));
    case KERNELS_TANH: EACH(tanh_of(x));
    case KERNELS_ELU: EACH(elu_of(x));
    case KERNELS_RELU: EACH(relu_of(x));
  }
}

static void evaluate(const kernels_evaluation *e, int64_t item, int64_t from, int64_t to, float *registers,
                     int64_t room) {
  int64_t channels = e->channels, most = room / channels;
  for (int64_t first = from; first < to; first += most) {
    int64_t pixels = to - first < most ? to - first : most;
    for (int i = 0; i < e->instructions; i++) {
      const kernels_instruction *n = &e->program[i];
      const float *in[2];
      int64_t strides[2];
      for (int k = 0; k < 2; k++) {
        int from_where = k == 0 ? n->a : n->b;
        if (from_where < KERNELS_REGISTERS) {
          in[k] = registers + from_where * room;
          strides[k] = channels;
        } else {
          const kernels_operand *o = &e->operand[from_where - KERNELS_REGISTERS];
          in[k] = o->values + item * o->item + first * o->pixel;
          strides[k] = o->pixel;
        }
      }
      float *out = i + 1 < e->instructions ? registers + n->to * room : e->y + (item * e->pixels + first) * channels;
      step(n->operation, n->number, out, channels, in[0], strides[0], in[1], strides[1], pixels, channels);
    }
  }
}

// sum adds up (x - mean)², or x where squares is 0: a few pixels in vectors, then in doubles.
INLINE double sum(const float *x, int64_t pixels, int64_t stride, int64_t channels, const int squares, double mean) {
  enum { PIXELS = 16 };
  const vector centre = broadcast((float)mean);
  double total = 0;
  for (int64_t first = 0; first < pixels; first += PIXELS) {
    int64_t last = first + PIXELS < pixels ? first + PIXELS : pixels;
    vector sums[2] = {{0}, {0}};
    double rest = 0;
    for (int64_t p = first; p < last; p++) {
      const float *at = x + p * stride;
      int64_t c = 0;
      for (; c + 2 * LANES <= channels; c += 2 * LANES) {
        vector a = load(at + c), b = load(at + c + LANES);
        if (squares) {
          a = (a - centre) * (a - centre);
          b = (b - centre) * (b - centre);
        }
        sums[0] += a;
        sums[1] += b;
      }
      for (; c < channels; c++) rest += squares ? ((double)at[c] - mean) * ((double)at[c] - mean) : (double)at[c];
    }
    sums[0] += sums[1];
    for (int i = 0; i < LANES; i++) total += (double)sums[0][i];
    total += rest;
  }
  return total;
}

static void moments(const float *x, int64_t pixels, int64_t stride, int64_t channels, double *mean, double *variance) {
  double count = (double)pixels * (double)channels;
  *mean = sum(x, pixels, stride, channels, 0, 0) / count;
  *variance = sum(x, pixels, stride, channels, 1, *mean) / count;
}
