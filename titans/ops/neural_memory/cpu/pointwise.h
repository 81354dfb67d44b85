/* What a model does number by number between its products, and its way back: RMSNorm, a gate with SiLU, and the short
 * convolution with SiLU and L2 norm. Rows are contiguous; each pass goes through memory once, by vectors of channels. */

/* The first `count` numbers, at most a vector; zeros behind them. */
static inline vec load_some(const real *p, long count) {
    if (count >= V) return load(p);
    vec x = {0};
    for (long i = 0; i < count; i++) x[i] = p[i];
    return x;
}

static inline void store_some(real *p, vec x, long count) {
    if (count >= V)
        store(p, x);
    else
        for (long i = 0; i < count; i++) p[i] = x[i];
}

static inline vec logistic(vec z) { return (real)1 / ((real)1 + exponential(-z)); }

/* The derivative of z logistic(z), from z and its logistic. */
static inline vec silu_slope(vec z, vec a) { return a + z * a * ((real)1 - a); }

static real root_mean_square(long dim, const real *x, double eps) {
    vec squares = {0};
    for (long d = 0; d < dim; d += V) {
        vec some = load_some(x + d, dim - d);
        squares += some * some;
    }
    return SQRT(sum_of(squares) / dim + (real)eps);
}

/* y = gain x / (root mean square of x), for rows of `dim` numbers. */
void rms_norm(int64_t rows, int64_t dim, double eps, const real *x, const real *gain, real *y) {
    for (long n = 0; n < rows; n++, x += dim, y += dim) {
        real scale = 1 / root_mean_square(dim, x, eps);
        for (long d = 0; d < dim; d += V)
            store_some(y + d, load_some(x + d, dim - d) * scale * load_some(gain + d, dim - d), dim - d);
    }
}

/* The gradients by x, and by the gain, to which they are added. */
void rms_norm_backward(
    int64_t rows, int64_t dim, double eps, const real *x, const real *gain, const real *dy, real *dx, real *dgain) {
    for (long n = 0; n < rows; n++, x += dim, dy += dim, dx += dim) {
        real scale = 1 / root_mean_square(dim, x, eps);
        vec along = {0};
        for (long d = 0; d < dim; d += V) {
            long left = dim - d;
            vec normed = load_some(x + d, left) * scale, up = load_some(dy + d, left);
            along += normed * up * load_some(gain + d, left);
            store_some(dgain + d, load_some(dgain + d, left) + normed * up, left);
        }
        real mean = sum_of(along) / dim;
        for (long d = 0; d < dim; d += V) {
            long left = dim - d;
            vec up = load_some(dy + d, left) * load_some(gain + d, left);
            store_some(dx + d, scale * (up - load_some(x + d, left) * scale * mean), left);
        }
    }
}

/* y = silu(a) b. */
void silu_gate(int64_t count, const real *a, const real *b, real *y) {
    for (long i = 0; i < count; i += V) {
        vec z = load_some(a + i, count - i);
        store_some(y + i, z * logistic(z) * load_some(b + i, count - i), count - i);
    }
}

void silu_gate_backward(int64_t count, const real *a, const real *b, const real *dy, real *da, real *db) {
    for (long i = 0; i < count; i += V) {
        long left = count - i;
        vec z = load_some(a + i, left), s = logistic(z), up = load_some(dy + i, left);
        store_some(da + i, up * load_some(b + i, left) * silu_slope(z, s), left);
        store_some(db + i, up * z * s, left);
    }
}

/* A short convolution of x [batch, before + time, heads * dim] into y [batch, heads, time, dim].
 *
 * `weight` is [width, heads * dim], the oldest token's tap first. Of the tokens before the first one computed, `before`
 * are there, none or width - 1. Then a SiLU where `silu`, and each head is divided by its L2 norm, at least SHORTEST,
 * where `unit`. */
typedef struct {
    int64_t batch, time, heads, dim, width, before, silu, unit;
} convolution;

#define SHORTEST ((real)1e-6)

/* The sum of the taps for some channels of token t, before any SiLU. */
static inline vec taps(const convolution *c, const real *x, const real *weight, long t, long channel, long left) {
    long row = c->heads * c->dim, first = t + c->before - c->width + 1;
    vec sum = {0};
    for (long j = first < 0 ? -first : 0; j < c->width; j++)
        sum += load_some(weight + j * row + channel, left) * load_some(x + (first + j) * row + channel, left);
    return sum;
}

/* The norm that a head's vector is divided by; 1 where it is not. */
static real length_of(const convolution *c, const real *y) {
    if (!c->unit) return 1;
    vec squares = {0};
    for (long d = 0; d < c->dim; d += V) {
        vec some = load_some(y + d, c->dim - d);
        squares += some * some;
    }
    return SQRT(sum_of(squares));
}

void convolve(const convolution *c, const real *x, const real *weight, real *y) {
    long row = c->heads * c->dim;
    for (long n = 0; n < c->batch; n++, x += (c->before + c->time) * row, y += c->time * row)
        for (long t = 0; t < c->time; t++)
            for (long h = 0; h < c->heads; h++) {
                real *to = y + (h * c->time + t) * c->dim;
                for (long d = 0; d < c->dim; d += V) {
                    vec z = taps(c, x, weight, t, h * c->dim + d, c->dim - d);
                    store_some(to + d, c->silu ? z * logistic(z) : z, c->dim - d);
                }
                real norm = length_of(c, to), scale = 1 / (norm > SHORTEST ? norm : SHORTEST);
                for (long d = 0; c->unit && d < c->dim; d += V)
                    store_some(to + d, load_some(to + d, c->dim - d) * scale, c->dim - d);
            }
}

/* The gradients by x and by the weight, to both of which they are added. `held` has room for two heads' vectors. */
void convolve_backward(const convolution *c, const real *x, const real *weight, const real *dy, real *dx,
    real *dweight, real *held) {
    long row = c->heads * c->dim;
    for (long n = 0; n < c->batch; n++) {
        for (long t = 0; t < c->time; t++)
            for (long h = 0; h < c->heads; h++) {
                const real *up = dy + (h * c->time + t) * c->dim;
                real *z = held, *a = held + c->dim;
                for (long d = 0; d < c->dim; d += V) {
                    vec sum = taps(c, x, weight, t, h * c->dim + d, c->dim - d);
                    store_some(z + d, sum, c->dim - d);
                    store_some(a + d, c->silu ? sum * logistic(sum) : sum, c->dim - d);
                }
                real norm = length_of(c, a), scale = 1 / (norm > SHORTEST ? norm : SHORTEST), mean = 0;
                if (c->unit && norm >= SHORTEST) {
                    vec along = {0};
                    for (long d = 0; d < c->dim; d += V)
                        along += load_some(up + d, c->dim - d) * load_some(a + d, c->dim - d);
                    mean = sum_of(along) * scale * scale;
                }
                for (long d = 0; d < c->dim; d += V) {
                    long left = c->dim - d, channel = h * c->dim + d, first = t + c->before - c->width + 1;
                    vec sum = load_some(z + d, left);
                    vec down = load_some(up + d, left);
                    if (c->unit) down = scale * (down - load_some(a + d, left) * mean);
                    if (c->silu) down *= silu_slope(sum, logistic(sum));
                    for (long j = first < 0 ? -first : 0; j < c->width; j++) {
                        long at = (first + j) * row + channel, tap = j * row + channel;
                        store_some(dx + at, load_some(dx + at, left) + down * load_some(weight + tap, left), left);
                        store_some(dweight + tap, load_some(dweight + tap, left) + down * load_some(x + at, left), left);
                    }
                }
            }
        x += (c->before + c->time) * row, dx += (c->before + c->time) * row, dy += c->time * row;
    }
}
