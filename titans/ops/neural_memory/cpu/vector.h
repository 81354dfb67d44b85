/* Numbers, vectors of them, and transposition: the compiler's vector extensions, for x86-64 and arm64 alike. */

#include <stddef.h>
#include <stdint.h>

#ifdef DOUBLE
typedef double real;
typedef int64_t bits;
#else
typedef float real;
typedef int32_t bits;
#endif

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define V ((long)(BYTES / sizeof(real)))

typedef real vec __attribute__((vector_size(BYTES)));
typedef bits lanes __attribute__((vector_size(BYTES)));
typedef real loose __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)

static inline vec load(const real *p) { return *(const loose *)p; }

static inline void store(real *p, vec x) { *(loose *)p = x; }

static inline vec spread(real x) { return x - (vec){0}; }

static inline vec choose(lanes where, vec a, vec b) { return (vec)(((lanes)a & where) | ((lanes)b & ~where)); }

static inline real sum_of(vec x) {
    real total = 0;
    EACH(i, V) total += x[i];
    return total;
}

/* Round up to whole vectors. */
static inline long padded(long count) { return (count + V - 1) / V * V; }

/* The halves of two vectors, lane by lane in turn. */
#if BYTES == 64 && !defined(DOUBLE)
#define ROUNDS 4
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif BYTES == 64 || (BYTES == 32 && !defined(DOUBLE))
#define ROUNDS 3
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif BYTES == 32 || !defined(DOUBLE)
#define ROUNDS 2
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#else
#define ROUNDS 1
#define LOW 0, 2
#define HIGH 1, 3
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define TURNS(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define TURNS(a, b, ...) __builtin_shuffle(a, b, (lanes){__VA_ARGS__})
#endif

/* Transpose a block of V rows: log2(V) = ROUNDS perfect shuffles. */
static inline void transpose_block(vec *rows) {
    EACH(round, ROUNDS) {
        vec turned[V];
        EACH(i, V / 2) {
            turned[2 * i] = TURNS(rows[i], rows[i + V / 2], LOW);
            turned[2 * i + 1] = TURNS(rows[i], rows[i + V / 2], HIGH);
        }
        EACH(i, V) rows[i] = turned[i];
    }
}

/* to[c][r] = scale[c] from[r][c], with zeros up to the next whole vector of each row of `to` where `pads`. */
static void transpose(
    long rows, long columns, const real *from, long from_row, const real *scale, real *to, long to_row, int pads) {
    for (long r = 0; r < rows; r += V)
        for (long c = 0; c < columns; c += V) {
            if (r + V <= rows && c + V <= columns) {
                vec block[V];
                EACH(i, V) block[i] = load(from + (r + i) * from_row + c);
                if (scale) {
                    vec factor = load(scale + c);
                    EACH(i, V) block[i] *= factor;
                }
                transpose_block(block);
                EACH(i, V) store(to + (c + i) * to_row + r, block[i]);
                continue;
            }
            for (long j = c; j < columns && j < c + V; j++)
                for (long i = r; i < r + V; i++)
                    if (i < rows)
                        to[j * to_row + i] = (scale ? scale[j] : 1) * from[i * from_row + j];
                    else if (pads)
                        to[j * to_row + i] = 0;
        }
}
