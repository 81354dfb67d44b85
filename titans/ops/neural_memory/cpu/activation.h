/* The non-linearities between the memory's layers with their first and second derivatives, and LayerNorm.
 *
 * All of it goes through a matrix [features, tokens] by vectors of tokens. */

enum { GELU, SILU, RELU };

#ifdef DOUBLE
#define LARGEST 708.0
#define SHIFT 52
#define ROUNDER 6755399441055744.0 /* 1.5 * 2^52: what is added to it loses its fraction */
#define LOG2_HIGH 6.93147180369123816490e-01
#define LOG2_LOW 1.90821492927058770002e-10
#define SERIES 13
#else
#define LARGEST 87.0f
#define SHIFT 23
#define ROUNDER 12582912.0f
#define LOG2_HIGH 0.693359375f
#define LOG2_LOW -2.12194440e-4f
#define SERIES 7
#endif

static const real FACTORIAL[] = {1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
    1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

/* exp(x) to the last bit or two; NaN stays NaN. */
static inline vec exponential(vec x) {
    x = choose(x < spread(-LARGEST), spread(-LARGEST), x);
    x = choose(x > spread(LARGEST), spread(LARGEST), x);
    vec shifted = x * (real)1.44269504088896340736 + (real)ROUNDER;
    vec whole = shifted - (real)ROUNDER;
    vec rest = x - whole * (real)LOG2_HIGH - whole * (real)LOG2_LOW;
    vec sum = spread(FACTORIAL[SERIES]);
    _Pragma("GCC unroll 16") for (int i = SERIES - 1; i >= 0; i--) sum = sum * rest + FACTORIAL[i];
    return (vec)((lanes)sum + ((lanes)shifted << SHIFT));
}

/* (|z| + CENTRE) exp(z^2 / 2) times the normal distribution's tail beyond |z|, as a polynomial in
 * (|z| - CENTRE) / (|z| + CENTRE): Chebyshev's series, relative error 6e-17 (float: 4e-8). */
#ifdef DOUBLE
#define CENTRE 5
static const real TAIL[] = {
    0.769193049750062944, -0.665382502890057638, 0.495305615969980501, -0.313533156671217153, 0.165020366170195179,
    -0.0691186387087418280, 0.0207950668032340378, -0.00299337673893597264, -0.000797869427747529648,
    0.000544898834756859600, -0.0000593755883337776698, -0.0000497617837401878903, 0.0000166808527199253954,
    3.97793826234342628e-6, -2.76887878367209136e-6, -3.31102854433181080e-7, 4.33476642851375648e-7,
    3.58445465608715985e-8, -6.74168905182360343e-8, -5.02723193096698263e-9, 9.27508224153734225e-9,
    5.05929748796669570e-10, -7.85445858324765763e-10,
};
#else
#define CENTRE 4
static const real TAIL[] = {
    0.7552851271f, -0.6078964038f, 0.3871375629f, -0.1865267109f, 0.06039529587f, -0.007512231382f, -0.003476167895f,
    0.001563786899f, 0.0001293256813f, -0.0001573205696f,
};
#endif
#define TERMS ((int)(sizeof(TAIL) / sizeof(TAIL[0])))

/* The normal distribution's density at z, and the distribution itself. */
static inline void normal(vec z, vec *density, vec *distribution) {
    vec size = choose(z < spread(0), -z, z);
    vec power = exponential(z * z * (real)-0.5);
    vec scale = (real)1 / (size + (real)CENTRE);
    vec t = (size - (real)CENTRE) * scale;
    vec sum = spread(TAIL[TERMS - 1]);
    _Pragma("GCC unroll 32") for (int i = TERMS - 2; i >= 0; i--) sum = sum * t + TAIL[i];
    vec tail = sum * scale * power;
    *density = power * (real)0.39894228040143267794;
    *distribution = choose(z < spread(0), tail, (real)1 - tail);
}

/* value = f(z); slope and curvature, its derivatives, where they are not null. */
static void activate(int kind, long count, const real *from, real *value, real *slope, real *curvature) {
    for (long i = 0; i < count; i += V) {
        vec z = load(from + i), f, df, ddf, a, b;
        if (kind == GELU) {
            normal(z, &a, &b);
            f = z * b, df = b + z * a, ddf = a * ((real)2 - z * z);
        } else if (kind == SILU) {
            a = (real)1 / ((real)1 + exponential(-z)), b = a * ((real)1 - a);
            f = z * a, df = a + z * b, ddf = b * ((real)2 + z * ((real)1 - (real)2 * a));
        } else {
            f = choose(z < spread(0), spread(0), z), df = choose(z > spread(0), spread(1), spread(0)), ddf = spread(0);
        }
        store(value + i, f);
        if (slope) store(slope + i, df);
        if (curvature) store(curvature + i, ddf);
    }
}

#define EPSILON ((real)1e-5)

/* Normalise the `dim` numbers of each token in a vector of tokens; return the factor of the centred ones. */
static vec normalise(long dim, long row, const real *z, real *normed) {
    vec total = {0}, squares = {0};
    for (long d = 0; d < dim; d++) total += load(z + d * row);
    vec mean = total / (real)dim;
    for (long d = 0; d < dim; d++) {
        vec centred = load(z + d * row) - mean;
        squares += centred * centred;
    }
    vec scale, variance = squares / (real)dim + EPSILON;
    EACH(i, V) scale[i] = 1 / SQRT(variance[i]);
    for (long d = 0; d < dim; d++) store(normed + d * row, (load(z + d * row) - mean) * scale);
    return scale;
}

/* The gradient by what was normalised, from that by the result; in place where `to` is `gradient`. */
static void normalise_backward(long dim, long row, const real *normed, vec scale, const real *gradient, real *to) {
    vec total = {0}, along = {0};
    for (long d = 0; d < dim; d++) {
        vec g = load(gradient + d * row);
        total += g, along += g * load(normed + d * row);
    }
    total /= (real)dim, along /= (real)dim;
    for (long d = 0; d < dim; d++)
        store(to + d * row, scale * (load(gradient + d * row) - total - load(normed + d * row) * along));
}
