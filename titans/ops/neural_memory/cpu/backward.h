/* One sequence and head, backward: `backward_chunk` of chunk.py, whose steps have the same names, from the last chunk to
 * the first. The gradient by the state, `dstate`, is turned in place from that after a chunk into that before it. */

static real total_of(long count, const real *a, const real *b) {
    vec sum[4] = {{0}};
    long i = 0;
    for (; i + 4 * V <= count; i += 4 * V) EACH(j, 4) sum[j] += load(a + i + j * V) * load(b + i + j * V);
    for (; i < count; i += V) sum[0] += load(a + i) * load(b + i);
    return sum_of((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* to = p a + q b, and along each token the sums over features of a with x into `p_sum`, of b with x into `q_sum`. */
static void combine_tokens(long features, long row, const real *p, const real *a, const real *q, const real *b,
    const real *x, real *to, real *p_sum, real *q_sum) {
    for (long t = 0; t < row; t += V) {
        vec of_p = {0}, of_q = {0}, by_p = load(p + t), by_q = load(q + t);
        for (long f = t; f < features * row; f += row) {
            vec left = load(a + f), right = load(b + f), with = load(x + f);
            of_p += left * with, of_q += right * with;
            store(to + f, by_p * left + by_q * right);
        }
        store(p_sum + t, of_p), store(q_sum + t, of_q);
    }
}

/* Go back through the masked products of queries and keys: to dg, and with `outer` to dx and ddelta.
 *
 * dx and ddelta are added to, dg too; `dgated.mask` becomes the gradient by the mask. */
static void scores_backward(const call *c, room *r, long l, const real *du, real *dg) {
    long size = c->size, row = padded(size), in = inputs(c, l), out = outputs(c, l);
    const real *mask = r->gated.mask;
    real *dmask = r->dgated.mask;
    product(size, size, in, turned(r->x[l], row), r->g[l], row, fresh(r->scores, row));
    product(size, size, out, turned(r->delta[l], row), du, row, fresh(r->dscores, row));
    for (long i = 0; i < size * row; i += V) {
        vec scores = load(r->scores + i), dscores = -load(r->dscores + i), m = load(mask + i);
        store(dmask + i, dscores * scores);
        store(r->dscores + i, dscores * m);
        store(r->scores + i, -scores * m);
    }
    product(in, size, size, plain(r->x[l], row), r->dscores, row, onto(dg, row));
    if (!c->outer) return;
    transpose(size, size, r->dscores, row, NULL, r->turned, row, 1);
    product(in, size, size, plain(r->g[l], row), r->turned, row, onto(r->dx[l], row));
    transpose(size, size, r->scores, row, NULL, r->turned, row, 1);
    product(out, size, size, plain(du, row), r->turned, row, onto(r->ddelta[l], row));
}

/* The products of a write with the gradient by the state: into dx and ddelta, and the gradients by the coefficients. */
static void write_backward(const call *c, room *r, long l) {
    long size = c->size, row = padded(size), in = inputs(c, l), out = outputs(c, l), line = stride(c, l);
    coefficients *g = &r->gated, *d = &r->dgated;
    const real *dw = r->dstate.weights[l], *ds = r->dstate.momentum[l];
    product(in, size, out, turned(dw, line), r->delta[l], row, fresh(r->from_weights, row));
    product(in, size, out, turned(ds, line), r->delta[l], row, fresh(r->from_momentum, row));
    for (long t = 0; t < size; t++) g->into_weights[t] = -g->into_weights[t], g->into_momentum[t] = -g->into_momentum[t];
    combine_tokens(in, row, g->into_weights, r->from_weights, g->into_momentum, r->from_momentum, r->x[l], r->dx[l],
        d->into_weights, d->into_momentum);
    for (long t = 0; t < size; t++) d->into_weights[t] = -d->into_weights[t], d->into_momentum[t] = -d->into_momentum[t];
    if (!c->outer) return;
    scale_tokens(in, row, r->x[l], g->into_weights, r->scaled);
    scale_tokens(in, row, r->x[l], g->into_momentum, r->drifted);
    product(out, size, in, plain(dw, line), r->scaled, row, fresh(r->ddelta[l], row));
    product(out, size, in, plain(ds, line), r->drifted, row, onto(r->ddelta[l], row));
}

/* The gradient by the state before the chunk, but for what comes through the inner gradients. */
static void carry_backward(const call *c, room *r, const state *now, long l, const real *du) {
    long row = padded(c->size), in = inputs(c, l), out = outputs(c, l), line = stride(c, l), end = c->size - 1;
    coefficients *g = &r->gated, *d = &r->dgated;
    real *dw = r->dstate.weights[l], *ds = r->dstate.momentum[l];
    d->start[end] += total_of(out * line, now->weights[l], dw);
    d->drift[end] += total_of(out * line, now->momentum[l], dw);
    d->decay = total_of(out * line, now->momentum[l], ds);
    transpose(in, c->size, r->g[l], row, NULL, r->by_token, line, 1);
    scale_tokens(out, row, du, g->drift, r->drifted);
    scale_tokens(out, row, du, g->start, r->scaled);
    product(out, in, c->size, plain(r->drifted, row), r->by_token, line,
        (result){ds, ds, dw, g->decay, g->drift[end], line});
    product(out, in, c->size, plain(r->scaled, row), r->by_token, line, (result){dw, dw, NULL, g->start[end], 0, line});
}

static void layer_backward(const call *c, room *r, const state *now, long l, const real *du, real *dg) {
    long size = c->size, row = padded(size), in = inputs(c, l), out = outputs(c, l), line = stride(c, l);
    coefficients *g = &r->gated, *d = &r->dgated;
    product(in, size, out, turned(now->weights[l], line), du, row, fresh(r->from_weights, row));
    product(in, size, out, turned(now->momentum[l], line), du, row, fresh(r->from_momentum, row));
    combine_tokens(in, row, g->start, r->from_weights, g->drift, r->from_momentum, r->g[l], dg, d->start, d->drift);
    write_backward(c, r, l);
    scores_backward(c, r, l, du, dg);
    carry_backward(c, r, now, l, du);
}

static void gates_backward(const call *c, room *r, long l, long n, long chunk) {
    const tensor *all[] = {c->dtheta, c->deta, c->dalpha};
    real *at[3];
    for (int i = 0; i < 3; i++)
        at[i] = all[i][l].at ? all[i][l].at + n * all[i][l].row + chunk * c->size : NULL;
    coefficients_backward(r->maps, c->size, &r->gated, &r->dgated, r->found);
    maps_backward(r->found, c->size, c->every, at[0], at[1], at[2]);
}

/* The gradients by the last layer's output z, into dz, and by v, into `error`; see `_top_gradient_backward`. */
static void top_backward(const call *c, room *r, const real *z, const real *ddelta, real *dz) {
    long row = padded(c->size), dim = c->widths[0];
    const real *delta = r->delta[c->layers - 1];
    for (long t = 0; t < row; t += V) {
        vec scale = {0}, means[3] = {{0}};
        if (c->residual) {
            scale = normalise(dim, row, z + t, r->normed + t);
            for (long d = t; d < dim * row; d += row) {
                vec up = load(ddelta + d), normed = load(r->normed + d);
                means[0] += up * load(delta + d), means[1] += up * normed, means[2] += load(r->error + d) * normed;
            }
            EACH(i, 3) means[i] /= (real)dim;
            normalise_backward(dim, row, r->normed + t, scale, ddelta + t, r->error + t);
            for (long d = t; d < dim * row; d += row) {
                vec through = load(r->error + d);
                store(r->scaled + d, load(r->normed + d) * means[0] + means[1] * load(delta + d) + means[2] * through);
                store(r->error + d, through * (real)c->slope);
            }
            normalise_backward(dim, row, r->normed + t, scale, r->error + t, dz + t);
            for (long d = t; d < dim * row; d += row) store(dz + d, load(dz + d) - scale * load(r->scaled + d));
        } else
            for (long d = t; d < dim * row; d += row) {
                store(r->error + d, (real)c->slope * load(ddelta + d));
                store(dz + d, load(r->error + d));
            }
        for (long d = t; d < dim * row; d += row) store(r->error + d, -load(r->error + d));
    }
}

/* Add left right^T, both [features, tokens], to the gradient by a layer's weights. */
static void add_to_weights(const call *c, room *r, long l, const real *left, const real *right) {
    long row = padded(c->size), line = stride(c, l);
    transpose(inputs(c, l), c->size, right, row, NULL, r->by_token, line, 1);
    product(outputs(c, l), inputs(c, l), c->size, plain(left, row), r->by_token, line, onto(r->dstate.weights[l], line));
}

/* Up the layers that the inner gradients came down, and then down: see `inner_gradient_backward` in mlp.py.
 *
 * Leaves the gradients by k in dx[0] and by v in `error`. */
static void inner_backward(const call *c, room *r, const state *now, const products *p) {
    long size = c->size, row = padded(size), last = c->layers - 1;
    for (long l = 0; l < last; l++) {
        long count = outputs(c, l) * row, line = stride(c, l + 1);
        for (long i = 0; i < count; i += V) {
            vec up = load(r->ddelta[l] + i);
            store(r->dz[l] + i, up * load(p->pulled[l + 1] + i) * load(r->curve[l] + i));
            store(r->ddelta[l] + i, up * load(r->slope[l] + i));
        }
        add_to_weights(c, r, l + 1, r->delta[l + 1], r->ddelta[l]);
        product(outputs(c, l + 1), size, inputs(c, l + 1), plain(now->weights[l + 1], line), r->ddelta[l], row,
            onto(r->ddelta[l + 1], row));
    }
    top_backward(c, r, p->z[last], r->ddelta[last], r->dz[last]);
    for (long l = last; l >= 0; l--) {
        add_to_weights(c, r, l, r->dz[l], r->x[l]);
        product(inputs(c, l), size, outputs(c, l), turned(now->weights[l], stride(c, l)), r->dz[l], row,
            onto(r->dx[l], row));
        for (long i = 0; l && i < inputs(c, l) * row; i += V)
            store(r->dz[l - 1] + i, load(r->dz[l - 1] + i) + load(r->dx[l] + i) * load(r->slope[l - 1] + i));
    }
    for (long i = 0; c->residual && i < inputs(c, 0) * row; i += V)
        store(r->dx[0] + i, load(r->dx[0] + i) - load(r->error + i));
}

static void backward_chunk(const call *c, room *r, const state *now, const products *p, long n, long chunk) {
    long row = padded(c->size), last = c->layers - 1, dim = c->widths[0];
    read_tokens(c, c->k, n, chunk, r->x[0]);
    read_tokens(c, c->v, n, chunk, r->v);
    read_tokens(c, c->q, n, chunk, r->g[0]);
    read_tokens(c, c->dy, n, chunk, r->dy);
    inner_gradient(c, r, now, p, 1);
    for (long l = 0; l < last; l++)
        activate(c->activation, outputs(c, l) * row, p->u[l], r->g[l + 1], r->read[l], NULL);
    real *du = r->du, *dg = r->dg;
    if (c->residual)
        for (long t = 0; t < row; t += V) {
            vec scale = normalise(dim, row, p->u[last] + t, r->normed + t);
            normalise_backward(dim, row, r->normed + t, scale, r->dy + t, du + t);
        }
    else
        memcpy(du, r->dy, dim * row * sizeof(real));
    for (long l = last; l >= 0; l--) {
        maps_of(gates_at(c, l, n, chunk), c->size, c->every, r->maps);
        coefficients_of(r->maps, c->size, &r->gated);
        layer_backward(c, r, now, l, du, dg);
        gates_backward(c, r, l, n, chunk);
        if (l) multiply(inputs(c, l) * row, dg, r->read[l - 1], du);
    }
    for (long i = 0; c->residual && i < dim * row; i += V) store(dg + i, load(dg + i) + load(r->dy + i));
    write_tokens(c, dg, c->dq, n, chunk);
    if (!c->outer) return;
    inner_backward(c, r, now, p);
    write_tokens(c, r->dx[0], c->dk, n, chunk);
    write_tokens(c, r->error, c->dv, n, chunk);
}

static void backward_row(const call *c, room *r, long n) {
    state now;
    products p;
    long of_state = place_state(c, NULL, &now), of_products = place_products(c, NULL, &p);
    copy_in(c, c->dend_weights, n, r->dstate.weights);
    copy_in(c, c->dend_momentum, n, r->dstate.momentum);
    for (long chunk = c->chunks - 1; chunk >= 0; chunk--) {
        place_state(c, c->states + (n * (c->chunks + 1) + chunk) * of_state, &now);
        place_products(c, c->products + (n * c->chunks + chunk) * of_products, &p);
        backward_chunk(c, r, &now, &p, n, chunk);
        if (c->reset) memset(r->dstate.momentum[0], 0, of_state / 2 * sizeof(real));
    }
    copy_out(c, r->dstate.weights, c->dweights, n);
    copy_out(c, r->dstate.momentum, c->dmomentum, n);
}
