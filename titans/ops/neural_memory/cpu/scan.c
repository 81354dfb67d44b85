/* The scan of the memory operator over chunks on a CPU, for one type of numbers: float, or with -DDOUBLE double.
 *
 * Each sequence and head is gone through from its first chunk to its last with all that it works on in the core's cache;
 * threads take sequences and heads in turn, and none depends on another, so that the numbers are the same for any
 * number of threads. Products are tiles of registers over the compiler's vector extensions, denormals are 0. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifdef DOUBLE
#define SQRT __builtin_sqrt
#else
#define SQRT __builtin_sqrtf
#endif

#include "vector.h"
#include "product.h"
#include "activation.h"
#include "pointwise.h"
#include "gates.h"
#include "forward.h"
#include "backward.h"

enum { MOST_THREADS = 1024 };

/* Take numbers from `at` on, which only counts where it starts from null. */
static real *take(real **at, long count) {
    real *taken = *at;
    *at += padded(count);
    return taken;
}

static void take_coefficients(const call *c, real **at, coefficients *g) {
    long row = padded(c->size);
    real **matrices[] = {&g->mask, &g->weights, &g->momentum};
    real **vectors[] = {&g->start, &g->drift, &g->into_weights, &g->into_momentum, &g->left};
    for (int i = 0; i < 3; i++) *matrices[i] = take(at, c->size * row);
    for (int i = 0; i < 5; i++) *vectors[i] = take(at, row);
}

static void take_maps(const call *c, real **at, maps *m) {
    real **vectors[] = {&m->keep, &m->drift, &m->carry, &m->into, &m->theta};
    for (int i = 0; i < 5; i++) *vectors[i] = take(at, c->size);
}

/* Lay a thread's room out from `at` on; return the numbers that it takes. */
static long furnish(const call *c, real *at, room *r, int back) {
    real *begin = at;
    long row = padded(c->size), wide = widest(c);
    state s;
    products p;
    for (long l = 0; l < c->layers; l++) {
        real **of_inputs[] = {&r->x[l], &r->g[l], &r->dx[l]};
        real **of_outputs[] = {&r->slope[l], &r->delta[l], &r->curve[l], &r->read[l], &r->ddelta[l], &r->dz[l]};
        for (int i = 0; i < (back ? 3 : 2); i++) *of_inputs[i] = take(&at, inputs(c, l) * row);
        for (int i = 0; i < (back ? 6 : 2); i++) *of_outputs[i] = take(&at, outputs(c, l) * row);
    }
    real **of_widest[] = {&r->v, &r->error, &r->normed, &r->scaled, &r->drifted, &r->dy, &r->du, &r->dg,
        &r->from_weights, &r->from_momentum};
    for (int i = 0; i < (back ? 10 : 5); i++) *of_widest[i] = take(&at, wide * row);
    real **of_pairs[] = {&r->scores, &r->dscores, &r->turned};
    for (int i = 0; i < (back ? 3 : 1); i++) *of_pairs[i] = take(&at, c->size * row);
    r->by_token = take(&at, c->size * padded(wide));
    r->more_by_token = take(&at, c->size * padded(wide));
    take_coefficients(c, &at, &r->gated);
    take_maps(c, &at, &r->maps);
    if (back) {
        take_coefficients(c, &at, &r->dgated);
        take_maps(c, &at, &r->found);
        at += place_state(c, at, &r->dstate);
    } else if (!c->states) {
        r->held = at;
        at += place_state(c, at, &s) + place_products(c, at, &p);
    }
    return at - begin;
}

/* Flush denormals to zero in this thread; return the mode before. */
static uint64_t flush_denormals(void) {
#if defined(__x86_64__)
    uint32_t before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | 0x8040);
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1 << 24));
#else
    uint64_t before = 0;
#endif
    return before;
}

static void restore_denormals(uint64_t before) {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((uint32_t)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

typedef struct {
    const call *call;
    int back;
    atomic_long next;
    atomic_int failed;
} work;

static void *labour(void *argument) {
    work *w = argument;
    const call *c = w->call;
    room r;
    long count = furnish(c, NULL, &r, w->back);
    real *held = aligned_alloc(64, (count * sizeof(real) + 63) / 64 * 64);
    if (!held) {
        w->failed = 1;
        return NULL;
    }
    memset(held, 0, count * sizeof(real));
    furnish(c, held, &r, w->back);
    uint64_t before = flush_denormals();
    for (long n; (n = w->next++) < c->rows;) (w->back ? backward_row : forward_row)(c, &r, n);
    restore_denormals(before);
    free(held);
    return NULL;
}

static int run(const call *c, int back) {
    pthread_t threads[MOST_THREADS];
    work w = {.call = c, .back = back};
    long wanted = c->threads < c->rows ? c->threads : c->rows, started = 0;
    if (wanted > MOST_THREADS) wanted = MOST_THREADS;
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, labour, &w) == 0) started++;
    labour(&w);
    for (long i = 0; i < started; i++) pthread_join(threads[i], NULL);
    return w.failed;
}

/* Return 0, or 1 where memory ran out. */
int forward(const call *c) { return run(c, 0); }

int backward(const call *c) { return run(c, 1); }

/* The numbers that the tape holds of a sequence and head: of a state, and of a chunk's products. */
void tape(const call *c, int64_t *of_state, int64_t *of_products) {
    state s;
    products p;
    *of_state = place_state(c, NULL, &s);
    *of_products = place_products(c, NULL, &p);
}
