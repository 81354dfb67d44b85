/* Matrix products of the sizes of a chunk: from tens to hundreds on a side, both factors in the core's cache. */

/* A factor whose numbers are broadcast one at a time, so that it may lie transposed: (m, k) is at[m row + k column]. */
typedef struct {
    const real *at;
    long row, column;
} factor;

/* What a product is added to: p first + q second, each where it is not null. All three lie alike. */
typedef struct {
    real *at;
    const real *first, *second;
    real p, q;
    long row;
} result;

#define STEP 128 /* numbers of a sum at a time: the rows of the other factor that a first-level cache holds */

/* A tile of the result in registers, ROWS by WIDE vectors. */
#define TILE(ROWS, WIDE)                                                                                    \
    static void tile_##ROWS##_##WIDE(long depth, factor a, const real *b, long b_row, result out, long at) { \
        vec sum[ROWS][WIDE];                                                                                \
        EACH(m, ROWS) EACH(n, WIDE) {                                                                       \
            long place = at + m * out.row + n * V;                                                          \
            vec start = {0};                                                                                \
            if (out.first) start = out.p * load(out.first + place);                                         \
            if (out.second) start += out.q * load(out.second + place);                                      \
            sum[m][n] = start;                                                                              \
        }                                                                                                   \
        for (long k = 0; k < depth; k++, b += b_row, a.at += a.column) {                                    \
            vec row[WIDE];                                                                                  \
            EACH(n, WIDE) row[n] = load(b + n * V);                                                         \
            EACH(m, ROWS) EACH(n, WIDE) sum[m][n] += a.at[m * a.row] * row[n];                              \
        }                                                                                                   \
        EACH(m, ROWS) EACH(n, WIDE) store(out.at + at + m * out.row + n * V, sum[m][n]);                    \
    }

#if defined(__AVX512F__) || defined(__aarch64__) /* 32 registers */
#define TALL 16
#define HALF 8
#else
#define TALL 8
#define HALF 4
#endif
#define TILES(ROWS, WIDE) TILE(ROWS, WIDE) /* expands the names */
#define CALL(ROWS, WIDE) tile_##ROWS##_##WIDE
#define TILE_OF(ROWS, WIDE) CALL(ROWS, WIDE)
TILES(TALL, 1)
TILES(HALF, 2)
TILE(4, 1)
TILE(1, 1)
TILE(2, 2)
TILE(1, 2)

/* Ask for the numbers of a factor ahead of time: they lie in the second-level cache, in lines far apart. */
static inline void fetch(long rows, long depth, factor a) {
    const long line = 64 / sizeof(real);
    for (long m = 0; m < rows; m += a.row == 1 ? line : 1)
        for (long k = 0; k < depth; k += a.column == 1 ? line : 1) __builtin_prefetch(a.at + m * a.row + k * a.column);
}

/* Go down the rows that are left by tiles of so many, the next one's factor on its way. */
#define DOWN(ROWS, WIDE)                                                                                        \
    for (; m + (ROWS) <= rows; m += (ROWS)) {                                                                   \
        if (m + 2 * (ROWS) <= rows) fetch(ROWS, depth, (factor){a.at + (m + (ROWS)) * a.row, a.row, a.column}); \
        factor here = {a.at + m * a.row, a.row, a.column};                                                      \
        TILE_OF(ROWS, WIDE)(depth, here, b + n, b_row, out, m * out.row + n);                                   \
    }

static void product_step(long rows, long columns, long depth, factor a, const real *b, long b_row, result out) {
    long n = 0;
    for (; n + 2 * V <= columns; n += 2 * V) {
        long m = 0;
        DOWN(HALF, 2)
        DOWN(2, 2)
        DOWN(1, 2)
    }
    if (n < columns) {
        long m = 0;
        DOWN(TALL, 1)
        DOWN(4, 1)
        DOWN(1, 1)
    }
}

/* out = p first + q second + A B, for A [rows, depth] and B [depth, columns] in whole vectors of columns. */
static void product(long rows, long columns, long depth, factor a, const real *b, long b_row, result out) {
    columns = padded(columns);
    for (long k = 0; k == 0 || k < depth; k += STEP) {
        long some = depth - k < STEP ? depth - k : STEP;
        product_step(rows, columns, some, a, b, b_row, out);
        a.at += some * a.column;
        b += some * b_row;
        out.first = out.at, out.second = NULL, out.p = 1;
    }
}

static inline factor plain(const real *at, long row) { return (factor){at, row, 1}; }

static inline factor turned(const real *at, long row) { return (factor){at, 1, row}; }

static inline result fresh(real *at, long row) { return (result){at, NULL, NULL, 0, 0, row}; }

static inline result onto(real *at, long row) { return (result){at, at, NULL, 1, 0, row}; }
