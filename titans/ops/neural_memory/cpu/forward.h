/* One sequence and head, forward. Its tokens come as [time, features]; inside, a chunk is [features, tokens], so that
 * the memory's products have its weights on the side whose numbers are broadcast, and vectors are over tokens.
 *
 * Names as in chunk.py: keys x have outputs z, queries g have u, delta is the inner gradient at z. */

#define DEEPEST 64 /* layers */

/* A tensor [rows, time, ...] whose rows are so many numbers apart; null where there is none. */
typedef struct {
    real *at;
    int64_t row;
} tensor;

/* All that a call says; scan.py fills it in. Arrays have an entry for each layer. */
typedef struct {
    int64_t rows, chunks, size, layers, threads;
    int64_t activation, residual, outer, reset, every;
    double slope; /* of the inner loss: its derivative by the error, over the error */
    const int64_t *widths;      /* of each layer's input, then of the output */
    tensor q, k, v, y;
    const tensor *theta, *eta, *alpha;
    const tensor *weights, *momentum, *end_weights, *end_momentum; /* [rows, outputs, inputs] */
    real *states, *products;                                       /* the tape; null: none is kept */
    tensor dy, dq, dk, dv;                                         /* from here on of the way back */
    const tensor *dtheta, *deta, *dalpha;
    const tensor *dweights, *dmomentum, *dend_weights, *dend_momentum;
} call;

/* Where the layers' matrices lie in a state: weights, then momentum, rows padded to whole vectors. */
typedef struct {
    real *weights[DEEPEST], *momentum[DEEPEST];
} state;

/* What the way back needs of a chunk beside the state: see `Products` in chunk.py. */
typedef struct {
    real *z[DEEPEST], *pulled[DEEPEST], *u[DEEPEST];
} products;

/* What a thread works in. */
typedef struct {
    real *x[DEEPEST], *slope[DEEPEST], *curve[DEEPEST], *delta[DEEPEST], *g[DEEPEST], *read[DEEPEST];
    real *v, *error, *normed, *scaled, *drifted, *scores, *by_token, *more_by_token;
    real *held;
    maps maps;
    coefficients gated;
    /* of the way back */
    real *dx[DEEPEST], *ddelta[DEEPEST], *dz[DEEPEST];
    real *dy, *du, *dg, *from_weights, *from_momentum, *dscores, *turned;
    maps found;
    coefficients dgated;
    state dstate;
} room;

static long inputs(const call *c, long layer) { return c->widths[layer]; }

static long outputs(const call *c, long layer) { return c->widths[layer + 1]; }

static long stride(const call *c, long layer) { return padded(inputs(c, layer)); }

static long widest(const call *c) {
    long most = 0;
    for (long i = 0; i <= c->layers; i++) most = c->widths[i] > most ? c->widths[i] : most;
    return most;
}

/* Give each matrix its place from `at` on; return the numbers that they take. */
static long place_state(const call *c, real *at, state *s) {
    real *begin = at;
    for (int momentum = 0; momentum < 2; momentum++)
        for (long l = 0; l < c->layers; l++) {
            (momentum ? s->momentum : s->weights)[l] = at;
            at += outputs(c, l) * stride(c, l);
        }
    return at - begin;
}

static long place_products(const call *c, real *at, products *p) {
    real *begin = at;
    long row = padded(c->size);
    for (long l = 0; l < c->layers; l++) {
        p->z[l] = at, at += outputs(c, l) * row;
        p->u[l] = at, at += outputs(c, l) * row;
        p->pulled[l] = at, at += l ? inputs(c, l) * row : 0;
    }
    return at - begin;
}

static void copy_in(const call *c, const tensor *from, long n, real *const *to) {
    for (long l = 0; l < c->layers; l++)
        for (long o = 0; o < outputs(c, l); o++) {
            real *line = to[l] + o * stride(c, l);
            memcpy(line, from[l].at + n * from[l].row + o * inputs(c, l), inputs(c, l) * sizeof(real));
            memset(line + inputs(c, l), 0, (stride(c, l) - inputs(c, l)) * sizeof(real));
        }
}

static void copy_out(const call *c, real *const *from, const tensor *to, long n) {
    for (long l = 0; l < c->layers; l++)
        for (long o = 0; o < outputs(c, l); o++)
            memcpy(to[l].at + n * to[l].row + o * inputs(c, l), from[l] + o * stride(c, l), inputs(c, l) * sizeof(real));
}

/* to = scale from, by token, for a matrix [features, tokens]. */
static void scale_tokens(long features, long row, const real *from, const real *scale, real *to) {
    for (long t = 0; t < row; t += V) {
        vec factor = load(scale + t);
        for (long f = 0; f < features; f++) store(to + f * row + t, load(from + f * row + t) * factor);
    }
}

static void multiply(long count, const real *a, const real *b, real *to) {
    for (long i = 0; i < count; i += V) store(to + i, load(a + i) * load(b + i));
}

/* A chunk's tokens as [features, tokens]; what lies behind the last token is and stays 0. */
static void read_tokens(const call *c, tensor x, long n, long chunk, real *to) {
    long dim = c->widths[0];
    transpose(c->size, dim, x.at + n * x.row + chunk * c->size * dim, dim, NULL, to, padded(c->size), 0);
}

static void write_tokens(const call *c, const real *from, tensor x, long n, long chunk) {
    long dim = c->widths[0];
    transpose(dim, c->size, from, padded(c->size), NULL, x.at + n * x.row + chunk * c->size * dim, dim, 0);
}

static gates gates_at(const call *c, long layer, long n, long chunk) {
    const tensor *all[] = {c->theta, c->eta, c->alpha};
    const real *at[3];
    for (int i = 0; i < 3; i++)
        at[i] = all[i][layer].at ? all[i][layer].at + n * all[i][layer].row + chunk * c->size : NULL;
    return (gates){at[0], at[1], at[2]};
}

/* The inner gradient at the last layer's output z, and in `error` that at the memory's output. */
static void top_gradient(const call *c, room *r, const real *z, real *delta) {
    long row = padded(c->size), dim = c->widths[0];
    for (long t = 0; t < row; t += V) {
        vec scale = {0};
        if (c->residual) scale = normalise(dim, row, z + t, r->normed + t);
        for (long d = t; d < dim * row; d += row) {
            vec predicted = c->residual ? load(r->x[0] + d) + load(r->normed + d) : load(z + d);
            store(r->error + d, (real)c->slope * (predicted - load(r->v + d)));
        }
        if (c->residual)
            normalise_backward(dim, row, r->normed + t, scale, r->error + t, delta + t);
        else
            for (long d = t; d < dim * row; d += row) store(delta + d, load(r->error + d));
    }
}

/* The inner gradients of a chunk; with `known` products none is computed again. */
static void inner_gradient(const call *c, room *r, const state *now, const products *p, int known) {
    long row = padded(c->size), last = c->layers - 1;
    for (long l = 0; l <= last; l++) {
        long count = outputs(c, l) * row;
        if (!known)
            product(outputs(c, l), c->size, inputs(c, l), plain(now->weights[l], stride(c, l)), r->x[l], row,
                fresh(p->z[l], row));
        if (l < last)
            activate(c->activation, count, p->z[l], r->x[l + 1], r->slope[l], known && c->outer ? r->curve[l] : NULL);
    }
    top_gradient(c, r, p->z[last], r->delta[last]);
    for (long l = last; l > 0; l--) {
        if (!known)
            product(inputs(c, l), c->size, outputs(c, l), turned(now->weights[l], stride(c, l)), r->delta[l], row,
                fresh(p->pulled[l], row));
        multiply(inputs(c, l) * row, p->pulled[l], r->slope[l - 1], r->delta[l - 1]);
    }
}

/* Pass the queries through a layer whose weights every token has moved on. */
static void read_layer(const call *c, room *r, const state *now, long l, real *u) {
    long row = padded(c->size), in = inputs(c, l), out = outputs(c, l);
    coefficients *g = &r->gated;
    scale_tokens(in, row, r->g[l], g->start, r->scaled);
    scale_tokens(in, row, r->g[l], g->drift, r->drifted);
    product(c->size, c->size, in, turned(r->x[l], row), r->g[l], row, fresh(r->scores, row));
    for (long i = 0; i < c->size * row; i += V) store(r->scores + i, -load(r->scores + i) * load(g->mask + i));
    product(out, c->size, in, plain(now->weights[l], stride(c, l)), r->scaled, row, fresh(u, row));
    product(out, c->size, in, plain(now->momentum[l], stride(c, l)), r->drifted, row, onto(u, row));
    product(out, c->size, c->size, plain(r->delta[l], row), r->scores, row, onto(u, row));
}

/* The layer's weights and momentum after the chunk. */
static void write_layer(const call *c, room *r, const state *now, const state *next, long l) {
    long row = padded(c->size), in = inputs(c, l), out = outputs(c, l), line = stride(c, l), end = c->size - 1;
    coefficients *g = &r->gated;
    real *w = now->weights[l], *s = now->momentum[l];
    for (long t = 0; t < c->size; t++) g->into_weights[t] = -g->into_weights[t], g->into_momentum[t] = -g->into_momentum[t];
    transpose(in, c->size, r->x[l], row, g->into_weights, r->by_token, line, 1);
    transpose(in, c->size, r->x[l], row, g->into_momentum, r->more_by_token, line, 1);
    factor delta = plain(r->delta[l], row);
    product(out, in, c->size, delta, r->by_token, line,
        (result){next->weights[l], w, s, g->start[end], g->drift[end], line});
    product(out, in, c->size, delta, r->more_by_token, line, (result){next->momentum[l], s, NULL, g->decay, 0, line});
}

/* What the queries read: y = u, or with `residual` q + LayerNorm(u); u is left as it is. */
static void emit(const call *c, room *r, const real *u, long n, long chunk) {
    long row = padded(c->size), dim = c->widths[0];
    if (c->residual) {
        for (long t = 0; t < row; t += V) normalise(dim, row, u + t, r->normed + t);
        for (long i = 0; i < dim * row; i += V) store(r->normed + i, load(r->normed + i) + load(r->g[0] + i));
        u = r->normed;
    }
    write_tokens(c, u, c->y, n, chunk);
}

static void forward_chunk(
    const call *c, room *r, const state *now, const state *next, const products *p, long n, long chunk) {
    read_tokens(c, c->k, n, chunk, r->x[0]);
    read_tokens(c, c->v, n, chunk, r->v);
    read_tokens(c, c->q, n, chunk, r->g[0]);
    inner_gradient(c, r, now, p, 0);
    for (long l = 0; l < c->layers; l++) {
        maps_of(gates_at(c, l, n, chunk), c->size, c->every, r->maps);
        coefficients_of(r->maps, c->size, &r->gated);
        read_layer(c, r, now, l, p->u[l]);
        write_layer(c, r, now, next, l);
        if (l + 1 < c->layers)
            activate(c->activation, outputs(c, l) * padded(c->size), p->u[l], r->g[l + 1], NULL, NULL);
    }
    emit(c, r, p->u[c->layers - 1], n, chunk);
}

/* All chunks of a sequence and head. The state before each is kept on the tape, or is overwritten in `held`. */
static void forward_row(const call *c, room *r, long n) {
    state now, next;
    products p;
    long of_state = place_state(c, NULL, &now), of_products = place_products(c, NULL, &p);
    real *states = c->states ? c->states + n * (c->chunks + 1) * of_state : r->held;
    real *kept = c->products ? c->products + n * c->chunks * of_products : r->held + of_state;
    place_state(c, states, &now);
    copy_in(c, c->weights, n, now.weights);
    copy_in(c, c->momentum, n, now.momentum);
    for (long chunk = 0; chunk < c->chunks; chunk++) {
        place_state(c, states + (c->states ? chunk : 0) * of_state, &now);
        place_state(c, states + (c->states ? chunk + 1 : 0) * of_state, &next);
        place_products(c, kept + (c->products ? chunk : 0) * of_products, &p);
        if (c->reset) memset(now.momentum[0], 0, of_state / 2 * sizeof(real));
        forward_chunk(c, r, &now, &next, &p, n, chunk);
    }
    copy_out(c, next.weights, c->end_weights, n);
    copy_out(c, next.momentum, c->end_momentum, n);
}
