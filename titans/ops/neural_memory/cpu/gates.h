/* The gate coefficients of one layer over a chunk, and the gradients by the gates; see coefficients.py for what they are.
 *
 * A token i is a map of weights and momentum: W <- keep W + drift S + into u, S <- carry S + theta u. After token t the
 * weights hold A_i(t) of the weights and D_i(t) of the momentum that token i left. Going back from the chunk's end,
 *
 *     A_{i-1} = keep_i A_i        D_{i-1} = drift_i A_i + carry_i D_i        mask_i = into_i A_i + theta_i D_i
 *
 * with A_i(i) = 1 and D_i(i) = 0: products and sums of vectors over t, exact where gates are 0 or 1. */

/* The maps of a chunk's tokens, in arrays of a number for each. */
typedef struct {
    real *keep, *drift, *carry, *into, *theta;
} maps;

/* The coefficients: `mask` and the two families of a row for each write i over tokens t; then a number for each token.
 * `left` is how much of a momentum after token i is left at the chunk's end; `decay` of that before the chunk. */
typedef struct {
    real *mask, *weights, *momentum;
    real *start, *drift, *into_weights, *into_momentum, *left;
    real decay;
} coefficients;

/* A layer's gates of a chunk; eta and alpha are null where they are off. */
typedef struct {
    const real *theta, *eta, *alpha;
} gates;

static void maps_of(gates g, long size, long every, maps m) {
    for (long i = 0, place = 0; i < size; i++, place = place + 1 == every ? 0 : place + 1) {
        int first = place == 0, last = place + 1 == every;
        m.carry[i] = first ? (g.eta ? g.eta[i] : 0) : 1;
        m.keep[i] = last && g.alpha ? 1 - g.alpha[i] : 1;
        m.drift[i] = last ? m.carry[i] : 0;
        m.theta[i] = g.theta[i];
        m.into[i] = last ? g.theta[i] : 0;
    }
}

static void coefficients_of(maps m, long size, coefficients *c) {
    long row = padded(size);
    memset(c->start, 0, row * sizeof(real));
    memset(c->drift, 0, row * sizeof(real));
    c->decay = 1;
    for (long i = size - 1; i >= 0; i--) {
        long begin = i / V * V;
        real *mask = c->mask + i * row, *weights = c->weights + i * row, *momentum = c->momentum + i * row;
        c->start[i] = 1;
        memset(mask, 0, begin * sizeof(real));
        memset(weights, 0, begin * sizeof(real));
        memset(momentum, 0, begin * sizeof(real));
        for (long t = begin; t < row; t += V) {
            vec a = load(c->start + t), d = load(c->drift + t);
            store(weights + t, a), store(momentum + t, d);
            store(mask + t, m.into[i] * a + m.theta[i] * d);
            store(c->start + t, m.keep[i] * a);
            store(c->drift + t, m.drift[i] * a + m.carry[i] * d);
        }
        c->into_weights[i] = mask[size - 1];
        c->into_momentum[i] = m.theta[i] * c->decay;
        c->left[i] = c->decay;
        c->decay *= m.carry[i];
    }
}

/* Turn the gradients by the coefficients, of which those by `start` and `drift` are used up, into those by the maps.
 *
 * `d` has the gradients in the places of the coefficients. */
static void coefficients_backward(maps m, long size, const coefficients *c, coefficients *d, maps found) {
    long row = padded(size);
    real decay = d->decay;
    for (long i = 0; i < size; i++) {
        vec keep = {0}, drift = {0}, carry = {0}, into = {0}, theta = {0};
        d->mask[i * row + size - 1] += d->into_weights[i];
        for (long t = i / V * V; t < row; t += V) {
            vec a = load(c->weights + i * row + t), s = load(c->momentum + i * row + t);
            vec of_mask = load(d->mask + i * row + t), of_a = load(d->start + t), of_s = load(d->drift + t);
            keep += of_a * a, drift += of_s * a, carry += of_s * s, into += of_mask * a, theta += of_mask * s;
            store(d->start + t, m.keep[i] * of_a + m.drift[i] * of_s + m.into[i] * of_mask);
            store(d->drift + t, m.carry[i] * of_s + m.theta[i] * of_mask);
        }
        found.keep[i] = sum_of(keep), found.drift[i] = sum_of(drift), found.into[i] = sum_of(into);
        found.carry[i] = sum_of(carry) + decay * c->left[i];
        found.theta[i] = sum_of(theta) + d->into_momentum[i] * c->left[i];
        decay = m.carry[i] * decay + m.theta[i] * d->into_momentum[i];
    }
}

/* The gradients by the gates from those by the maps; each where it is not null. */
static void maps_backward(maps found, long size, long every, real *theta, real *eta, real *alpha) {
    for (long i = 0, place = 0; i < size; i++, place = place + 1 == every ? 0 : place + 1) {
        int first = place == 0, last = place + 1 == every;
        theta[i] = found.theta[i] + (last ? found.into[i] : 0);
        if (eta) eta[i] = first ? found.carry[i] + (last ? found.drift[i] : 0) : 0;
        if (alpha) alpha[i] = last ? -found.keep[i] : 0;
    }
}
