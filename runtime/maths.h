/* maths.h: elementary functions of whole vectors, the same text for both number types.
 *
 * Polynomials on a reduced argument (Cody and Waite): relative errors below 1.5 epsilons over the whole range (of
 * sin and cos: below one unit of 1), right at infinities, and NaN stays NaN. Everything is written so that plain
 * rounding suffices; -ffast-math would break it. Coefficients are minimax fits by tests/bench/minimax.py, highest power
 * first. Rare functions go lane by lane through libm: right, and slow. Each rn_name has a scalar rn_name1: one lane of
 * the same code, so both agree bit for bit. With AVX-512 at 3.8 GHz, a float costs 0.25 ns in exp, 0.33 in sigmoid,
 * 0.38 in tanh, 0.4 in log. */
#if RN_DOUBLE
typedef uint64_t rn_ubits;
#define RN_LIBM(name) name
#define RN_ROUNDER 6755399441055744.0         /* 1.5 * 2^52: added, it rounds to an integer, left in the low bits */
#define RN_FRACTION 52                        /* bits below the exponent */
#define RN_BIAS 1023
#define RN_LOG2_HIGH 0.6931471805598903       /* log 2 in two parts; small integers times the first are exact */
#define RN_LOG2_LOW 5.497923018708371e-14
#define RN_EXP_MOST 709.782712893384          /* log of the largest number */
#define RN_EXP_LEAST -708.3964185322641       /* log of the smallest normal number, which follows */
#define RN_SMALLEST 2.2250738585072014e-308
#define RN_ROOT_HALF 0.70710678118654752
#define RN_TANH_END 22                        /* from here on tanh is 1 */
#define RN_ERF_END 6                          /* so is erf */
#define RN_TURNS_END 1e5                      /* up to here sin and cos reduce their argument exactly */
RN_UNUSED static const real rn_exp_terms[] = {
    2.504593172298149e-08, 2.762227338822277e-07, 2.7557425147051282e-06, 2.480151624715636e-05, 0.0001984126970911678,
    0.0013888888920575945, 0.008333333333388529, 0.04166666666661985, 0.16666666666666602, 0.5};
RN_UNUSED static const real rn_log_terms[] = {
    0.1479765329744217, 0.15313889520172969, 0.18183570242086083, 0.22222198467030221, 0.28571428743342414,
    0.39999999999410774, 0.6666666666666735};
RN_UNUSED static const real rn_sin_terms[] = {
    -7.578693686735907e-13, 1.605836654491862e-10, -2.505210491095391e-08, 2.755731921418805e-06,
    -0.00019841269841255064, 0.008333333333333323, -0.16666666666666666};
RN_UNUSED static const real rn_cos_terms[] = {
    -1.1359559456330398e-11, 2.0875721626217735e-09, -2.7557314340677814e-07, 2.4801587289443543e-05,
    -0.0013888888888874064, 0.0416666666666666, -0.5};
RN_UNUSED static const real rn_erf_inner[] = {
    -7.775932158923771e-10, 1.3709111522673073e-08, -1.620588796345324e-07, 1.6447076846842983e-06,
    -1.492470794315698e-05, 0.00012055293354338915, -0.0008548325922032933, 0.005223977605970315,
    -0.026866170643093927, 0.11283791670944078, -0.37612638903183515, 0.12837916709551256};
RN_UNUSED static const real rn_erf_outer[] = {
    -1.2610654615437236e-05, -2.6575106640182452e-05, 2.7634168674738128e-05, 0.00017428715747654493,
    4.3534917028254616e-05, -0.000981976620302166, -0.0008471425626739885, 0.006997461791908049, 0.0037328923985734588,
    -0.0789785810164738, 0.24165819424246635, -0.42718584741395677, 0.25539567631050575};
RN_UNUSED static const real rn_quarter[] = {1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21};
#else
typedef uint32_t rn_ubits;
#define RN_LIBM(name) name##f
#define RN_ROUNDER 12582912.0f
#define RN_FRACTION 23
#define RN_BIAS 127
#define RN_LOG2_HIGH 0.693145751953125f
#define RN_LOG2_LOW 1.428606765330187e-06f
#define RN_EXP_MOST 88.72283905206835f
#define RN_EXP_LEAST -87.33654475055310f
#define RN_SMALLEST 1.17549435e-38f
#define RN_ROOT_HALF 0.70710678f
#define RN_TANH_END 10
#define RN_ERF_END 4
#define RN_TURNS_END 1e4f
RN_UNUSED static const real rn_exp_terms[] = {0.00138982316f, 0.00836606696f, 0.0416668542f, 0.16666548f, 0.5f};
RN_UNUSED static const real rn_log_terms[] = {0.298731983f, 0.399774909f, 0.666667759f};
RN_UNUSED static const real rn_sin_terms[] = {-0.000195169778f, 0.00833217613f, -0.166666552f};
RN_UNUSED static const real rn_cos_terms[] = {2.44380917e-05f, -0.00138873642f, 0.0416666456f, -0.5f};
RN_UNUSED static const real rn_erf_inner[] = {7.85053853e-05f, -0.000800926995f, 0.00518823182f, -0.0268537663f,
                                              0.112835839f, -0.37612626f, 0.128379166f};
RN_UNUSED static const real rn_erf_outer[] = {-0.00250923703f, -0.0808276832f, 0.241460428f, -0.427187651f,
                                              0.255396128f};
RN_UNUSED static const real rn_quarter[] = {1.5703125f, 0.0004837512969970703f, 7.549790126404332e-08f};
#endif
typedef rn_ubits rn_u __attribute__((vector_size(RN_BYTES)));

#define RN_SIGN_BIT ((rn_bits)((rn_ubits)1 << (8 * sizeof(real) - 1)))
#define RN_POLYNOMIAL(x, terms) rn_polynomial(x, terms, (int)(sizeof(terms) / sizeof(terms[0])))
#define RN_MASK(condition) ((rn_i)(condition))

RN_INLINE rn_i rn_all_bits(rn_bits i) { return (rn_i){0} + i; }
RN_INLINE rn_i rn_bits_of(real x) { return (rn_i)rn_all(x); }
/* Integer sums that may run over: garbage in lanes that a later select throws away. */
RN_INLINE rn_i rn_bits_add(rn_i a, rn_i b) { return (rn_i)((rn_u)a + (rn_u)b); }
RN_INLINE rn_i rn_bits_less(rn_i a, rn_i b) { return (rn_i)((rn_u)a - (rn_u)b); }

/* terms[0] x^(count-1) + ... + terms[count-1] */
RN_INLINE rn_v rn_polynomial(rn_v x, const real *terms, const int count) {
    rn_v y = rn_all(terms[0]);
    RN_UNROLL for (int i = 1; i < count; i++) y = y * x + terms[i];
    return y;
}

/* ---- signs, order, rounding ---- */

RN_INLINE rn_v rn_abs(rn_v x) { return (rn_v)((rn_i)x & ~rn_all_bits(RN_SIGN_BIT)); }
RN_INLINE rn_v rn_copysign(rn_v size, rn_v sign) {
    rn_i bit = rn_all_bits(RN_SIGN_BIT);
    return (rn_v)(((rn_i)size & ~bit) | ((rn_i)sign & bit));
}
/* NaN wins in both, as in NumPy's minimum and maximum. */
RN_INLINE rn_v rn_min(rn_v a, rn_v b) { return rn_select(RN_MASK(a < b) | RN_MASK(a != a), a, b); }
RN_INLINE rn_v rn_max(rn_v a, rn_v b) { return rn_select(RN_MASK(a > b) | RN_MASK(a != a), a, b); }
RN_INLINE rn_v rn_relu(rn_v x) { return (rn_v)((rn_i)x & ~RN_MASK(x <= 0)); }
RN_INLINE rn_v rn_sign(rn_v x) {
    return rn_select(RN_MASK(x > 0), rn_all(1), rn_select(RN_MASK(x < 0), rn_all(-1), x));
}

/* One instruction where there is one, and elsewhere the sum with a number so large that nothing fits behind its point. */
#if RN_BYTES == 64 && RN_HAS(__builtin_ia32_rndscaleps_mask) && RN_HAS(__builtin_ia32_rndscalepd_mask)
#if RN_DOUBLE
#define RN_DOWN(x) __builtin_ia32_rndscalepd_mask(x, 9, x, -1, 4)
#else
#define RN_DOWN(x) __builtin_ia32_rndscaleps_mask(x, 9, x, -1, 4)
#endif
#elif RN_BYTES == 32 && RN_HAS(__builtin_ia32_roundps256) && RN_HAS(__builtin_ia32_roundpd256)
#if RN_DOUBLE
#define RN_DOWN(x) __builtin_ia32_roundpd256(x, 9)
#else
#define RN_DOWN(x) __builtin_ia32_roundps256(x, 9)
#endif
#endif
RN_INLINE rn_v rn_floor(rn_v x) {
#ifdef RN_DOWN
    return (rn_v)RN_DOWN(x);
#else
    rn_v whole = rn_all(1 / RN_EPSILON), size = rn_abs(x);        /* from here on every number is an integer */
    rn_v near = rn_copysign((size + whole) - whole, x);
    near -= (rn_v)(RN_MASK(near > x) & rn_bits_of(1));
    return rn_select(RN_MASK(size < whole), near, x);
#endif
}

/* The multiple of `step` next to x, halves away from zero, of at most `most` steps either way; and how many steps. */
RN_INLINE rn_v rn_steps(rn_v x, rn_v step, rn_v most) {
    rn_v steps = x / step;
    return rn_copysign(rn_min(rn_floor(rn_abs(steps) + (real)0.5), most), steps);
}
RN_INLINE rn_v rn_quantize(rn_v x, rn_v step, rn_v most) { return rn_steps(x, step, most) * step; }

/* Comparisons and logic give 1 or 0; any number but 0 is true. */
RN_INLINE rn_v rn_truth(rn_i mask) { return (rn_v)(mask & rn_bits_of(1)); }
RN_INLINE rn_v rn_lt(rn_v a, rn_v b) { return rn_truth(RN_MASK(a < b)); }
RN_INLINE rn_v rn_le(rn_v a, rn_v b) { return rn_truth(RN_MASK(a <= b)); }
RN_INLINE rn_v rn_gt(rn_v a, rn_v b) { return rn_truth(RN_MASK(a > b)); }
RN_INLINE rn_v rn_ge(rn_v a, rn_v b) { return rn_truth(RN_MASK(a >= b)); }
RN_INLINE rn_v rn_eq(rn_v a, rn_v b) { return rn_truth(RN_MASK(a == b)); }
RN_INLINE rn_v rn_ne(rn_v a, rn_v b) { return rn_truth(RN_MASK(a != b)); }
RN_INLINE rn_v rn_and(rn_v a, rn_v b) { return rn_truth(RN_MASK(a != 0) & RN_MASK(b != 0)); }
RN_INLINE rn_v rn_or(rn_v a, rn_v b) { return rn_truth(RN_MASK(a != 0) | RN_MASK(b != 0)); }
RN_INLINE rn_v rn_not(rn_v a) { return rn_truth(RN_MASK(a == 0)); }
RN_INLINE rn_v rn_where(rn_v condition, rn_v a, rn_v b) { return rn_select(RN_MASK(condition != 0), a, b); }

/* ---- exponentials ---- */

/* x = n log 2 + r with |r| <= log 2 / 2: gives exp(r) - 1, accurate near 0 too, and n where the exponent's bits are. */
RN_INLINE rn_v rn_exp_reduce(rn_v x, rn_i *exponent) {
    rn_v n = x * (real)1.4426950408889634 + RN_ROUNDER;
    *exponent = (rn_i)((rn_u)n << RN_FRACTION);
    n -= RN_ROUNDER;
    rn_v r = (x - n * RN_LOG2_HIGH) - n * RN_LOG2_LOW;
    return r * r * RN_POLYNOMIAL(r, rn_exp_terms) + r;
}

/* 0 below the normal numbers. The bits of exp(r) plus n are right even for n = 128, where 2^n alone overflows. */
RN_INLINE rn_v rn_exp(rn_v x) {
    rn_i exponent;
    rn_v y = rn_exp_reduce(x, &exponent) + 1;
    y = (rn_v)rn_bits_add((rn_i)y, exponent);
    y = (rn_v)((rn_i)y & ~RN_MASK(x < RN_EXP_LEAST));
    return rn_select(RN_MASK(x <= RN_EXP_MOST), y, x * RN_INFINITY);         /* infinity, or NaN */
}

/* 1 / (1 + exp(-x)): relative accuracy on the negative side as well. */
RN_INLINE rn_v rn_sigmoid(rn_v x) { return 1 / (rn_exp(-x) + 1); }

/* e / (e + 2) with e = exp(2 |x|) - 1, which is accurate near 0, unlike 1 - 2 / (exp(2x) + 1). */
RN_INLINE rn_v rn_tanh(rn_v x) {
    rn_i exponent;
    rn_v size = rn_abs(x);
    size = rn_select(RN_MASK(size > RN_TANH_END), rn_all(RN_TANH_END), size);
    rn_v small = rn_exp_reduce(size + size, &exponent), scale = (rn_v)rn_bits_add(rn_bits_of(1), exponent);
    rn_v e = scale * small + (scale - 1);
    return rn_copysign(e / (e + 2), x);
}

/* Up to 1 an odd polynomial, beyond 1 - exp(-x^2) times another one, of (x - 2) / (x + 2). */
RN_INLINE rn_v rn_erf(rn_v x) {
    rn_v size = rn_abs(x), square = x * x;
    rn_v inner = x + x * RN_POLYNOMIAL(square, rn_erf_inner);
    size = rn_select(RN_MASK(size > RN_ERF_END), rn_all(RN_ERF_END), size);
    rn_v outer = 1 - rn_exp(-size * size) * RN_POLYNOMIAL((size - 2) / (size + 2), rn_erf_outer);
    return rn_select(RN_MASK(size < 1), inner, rn_copysign(outer, x));
}

/* ---- logarithms ---- */

/* n log 2 + log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1]: log(1 + f) = 2 atanh(s), s = f / (2 + f). */
RN_INLINE rn_v rn_log_reduced(rn_v n, rn_v f) {
    rn_v s = f / (f + 2), z = s * s;
    rn_v rest = s * (f - z * RN_POLYNOMIAL(z, rn_log_terms));
    return n * RN_LOG2_HIGH - ((rest - n * RN_LOG2_LOW) - f);
}

RN_INLINE rn_v rn_log(rn_v x) {
    rn_i denormal = RN_MASK(x < RN_SMALLEST);
    rn_v scaled = rn_select(denormal, x * (2 / RN_EPSILON), x);
    rn_i up = rn_all_bits((rn_bits)RN_BIAS << RN_FRACTION);
    rn_i bits = rn_bits_add(rn_bits_less((rn_i)scaled, rn_bits_of(RN_ROOT_HALF)), up);   /* counted from sqrt(1/2) */
    rn_v n = (rn_v)rn_bits_add((rn_i)((rn_u)bits >> RN_FRACTION), rn_bits_of(RN_ROUNDER)) - (RN_ROUNDER + RN_BIAS);
    rn_i whole = bits & rn_all_bits((rn_bits)((rn_ubits)-1 << RN_FRACTION));
    n -= (rn_v)(denormal & rn_bits_of(RN_FRACTION + 1));
    rn_v y = rn_log_reduced(n, (rn_v)rn_bits_add(rn_bits_less((rn_i)scaled, whole), up) - 1);
    rn_v special = rn_select(RN_MASK(x == 0), rn_all(-RN_INFINITY), rn_select(RN_MASK(x < 0), rn_all(RN_NAN), x));
    return rn_select(RN_MASK(x > 0) & RN_MASK(x < RN_INFINITY), y, special);
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); relative accuracy on the negative side as well. */
RN_INLINE rn_v rn_softplus(rn_v x) {
    rn_v e = rn_exp(-rn_abs(x));
    rn_i upper = RN_MASK(e > (real)0.41421356237309505);         /* 1 + e beyond sqrt(2): log 2 + log((1 + e) / 2) */
    rn_v f = rn_select(upper, (e - 1) * (real)0.5, e);
    return rn_relu(x) + rn_log_reduced(rn_truth(upper), f);
}

/* ---- roots, angles, and what libm does lane by lane ---- */

#define RN_LANES(name, expression)                                                                                   \
    RN_INLINE rn_v name(rn_v x) {                                                                                    \
        RN_ALIGNED real lanes[RN_VL];                                                                                \
        rn_store(lanes, x);                                                                                          \
        for (int i = 0; i < RN_VL; i++) lanes[i] = expression;                                                       \
        return rn_load(lanes);                                                                                       \
    }
#define RN_LANES2(name, expression)                                                                                  \
    RN_FUNCTION void name##_lanes(real *restrict a, const real *restrict b) {                                        \
        for (int i = 0; i < RN_VL; i++) a[i] = expression;                                                           \
    }                                                                                                                \
    RN_INLINE rn_v name(rn_v a, rn_v b) {                                                                            \
        RN_ALIGNED real first[RN_VL], second[RN_VL];                                                                 \
        rn_store(first, a);                                                                                          \
        rn_store(second, b);                                                                                         \
        name##_lanes(first, second);                                                                                 \
        return rn_load(first);                                                                                       \
    }
/* Compilers make one instruction of the lanes' roots, but gcc only where it is told that nobody asks for errno. Who
 * compiles without -fno-math-errno has a step of Adam in 1.1 ms instead of 6.4 (2.2 million numbers) by asking for it. */
#if RN_BYTES == 64 && RN_HAS(__builtin_ia32_sqrtps512_mask) && RN_HAS(__builtin_ia32_sqrtpd512_mask)
#if RN_DOUBLE
#define RN_ROOT(x) __builtin_ia32_sqrtpd512_mask(x, x, -1, 4)
#else
#define RN_ROOT(x) __builtin_ia32_sqrtps512_mask(x, x, -1, 4)
#endif
#elif RN_BYTES == 32 && RN_HAS(__builtin_ia32_sqrtps256) && RN_HAS(__builtin_ia32_sqrtpd256)
#if RN_DOUBLE
#define RN_ROOT __builtin_ia32_sqrtpd256
#else
#define RN_ROOT __builtin_ia32_sqrtps256
#endif
#endif
#ifdef RN_ROOT
RN_INLINE rn_v rn_sqrt(rn_v x) { return (rn_v)RN_ROOT(x); }
#else
RN_LANES(rn_sqrt, RN_LIBM(sqrt)(lanes[i]))
#endif
RN_LANES(rn_sin_lanes, RN_LIBM(sin)(lanes[i]))
RN_LANES(rn_cos_lanes, RN_LIBM(cos)(lanes[i]))

/* Is the mask set in any lane? */
RN_INLINE int rn_any(rn_i mask) {
    uint64_t words[RN_BYTES / 8], any = 0;
    memcpy(words, &mask, sizeof words);
    for (int i = 0; i < RN_BYTES / 8; i++) any |= words[i];
    return any != 0;
}

/* x = n pi/2 + r, |r| <= pi/4; sin(x) is sin or cos of r, with a sign, by n + turn modulo 4. */
RN_INLINE rn_v rn_turned(rn_v x, int turn) {
    rn_v n = x * (real)0.63661977236758134 + RN_ROUNDER;
    rn_i quarter = rn_bits_add((rn_i)n, rn_all_bits(turn));
    n -= RN_ROUNDER;
    rn_v r = ((x - n * rn_quarter[0]) - n * rn_quarter[1]) - n * rn_quarter[2], z = r * r;
    rn_v sine = r * z * RN_POLYNOMIAL(z, rn_sin_terms) + r, cosine = z * RN_POLYNOMIAL(z, rn_cos_terms) + 1;
    rn_v y = rn_select(RN_MASK((quarter & 1) != 0), cosine, sine);
    return (rn_v)((rn_i)y ^ (RN_MASK((quarter & 2) != 0) & rn_all_bits(RN_SIGN_BIT)));
}
/* A lane's result depends on that lane alone, whatever lies in the padding beside it. */
#define RN_TURNING(name, turn)                                                                                       \
    RN_INLINE rn_v name(rn_v x) {                                                                                    \
        rn_i far = ~RN_MASK(rn_abs(x) <= RN_TURNS_END);                                                              \
        rn_v y = rn_turned(x, turn);                                                                                 \
        if (RN_UNLIKELY(rn_any(far))) y = rn_select(far, name##_lanes(x), y);                                        \
        return y;                                                                                                    \
    }
RN_TURNING(rn_sin, 0)
RN_TURNING(rn_cos, 1)

/* ---- one number at a time ---- */

#define RN_ONE(name) RN_INLINE real name##1(real x) { return name(rn_all(x))[0]; }
#define RN_ONE2(name) RN_INLINE real name##1(real a, real b) { return name(rn_all(a), rn_all(b))[0]; }
RN_ONE(rn_abs) RN_ONE(rn_sign) RN_ONE(rn_floor) RN_ONE(rn_relu) RN_ONE(rn_exp) RN_ONE(rn_log) RN_ONE(rn_sigmoid)
RN_ONE(rn_tanh) RN_ONE(rn_softplus) RN_ONE(rn_sqrt) RN_ONE(rn_erf) RN_ONE(rn_sin) RN_ONE(rn_cos) RN_ONE(rn_not)
RN_ONE2(rn_min) RN_ONE2(rn_max) RN_ONE2(rn_lt) RN_ONE2(rn_le) RN_ONE2(rn_gt)
RN_ONE2(rn_ge) RN_ONE2(rn_eq) RN_ONE2(rn_ne) RN_ONE2(rn_and) RN_ONE2(rn_or)
RN_INLINE real rn_where1(real condition, real a, real b) { return condition != 0 ? a : b; }
