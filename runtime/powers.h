/* powers.h: powers and remainders of whole vectors.
 *
 * A float to any power goes through double, in two halves of the vector: 2^(b log2 a), both by plain series, is right to
 * within the float's last half unit. Doubles go lane by lane through libm, as do infinities and NaN. A power takes 2.7 ns
 * instead of 4.7 (of a negative number 9), a remainder 0.4 instead of 14 to 20 (Zen 4, AVX-512). Whole exponents up to 8
 * never come here: graph/simplify.py multiplies. */

/* ---- powers ---- */

#if RN_DOUBLE
RN_LANES2(rn_pow, pow(a[i], b[i]))
#else
typedef double rn_wide __attribute__((vector_size(RN_BYTES)));
typedef uint64_t rn_wide_bits __attribute__((vector_size(RN_BYTES)));
typedef real rn_half __attribute__((vector_size(RN_BYTES / 2)));

#define RN_WIDE_ROUNDER 6755399441055744.0    /* 1.5 * 2^52 */
#define RN_WIDE_ONE (UINT64_C(1023) << 52)    /* the bits of 1.0 */
#define RN_WIDE_FROM UINT64_C(0x3FE6A09E667F3BCD)      /* of sqrt(1/2) */
RN_UNUSED static const double rn_atanh_terms[] = {1 / 21., 1 / 19., 1 / 17., 1 / 15., 1 / 13., 1 / 11., 1 / 9., 1 / 7.,
                                                  1 / 5., 1 / 3., 1};
RN_UNUSED static const double rn_series_terms[] = {1 / 39916800., 1 / 3628800., 1 / 362880., 1 / 40320., 1 / 5040.,
                                                   1 / 720., 1 / 120., 1 / 24., 1 / 6., 1 / 2., 1, 1};

#define RN_WIDE_SELECT(mask, a, b) \
    (rn_wide)(((rn_wide_bits)(mask) & (rn_wide_bits)(a)) | (~(rn_wide_bits)(mask) & (rn_wide_bits)(b)))

#define RN_SERIES(x, terms) rn_series(x, terms, (int)(sizeof(terms) / sizeof(terms[0])))
RN_INLINE rn_wide rn_series(rn_wide x, const double *terms, const int count) {
    rn_wide y = (rn_wide){0} + terms[0];
    RN_UNROLL for (int i = 1; i < count; i++) y = y * x + terms[i];
    return y;
}

/* a^b for normal a > 0. a = 2^n (1 + f) with 1 + f from sqrt(1/2) to sqrt(2); log(1 + f) = 2 atanh(f / (2 + f)). */
RN_INLINE rn_wide rn_pow_wide(rn_wide a, rn_wide b) {
    const rn_wide rounder = (rn_wide){0} + RN_WIDE_ROUNDER, most = (rn_wide){0} + 1000;
    rn_wide_bits above = (rn_wide_bits)a - RN_WIDE_FROM + RN_WIDE_ONE;
    rn_wide n = (rn_wide)((above >> 52) + (rn_wide_bits)rounder) - (RN_WIDE_ROUNDER + 1023);
    rn_wide f = (rn_wide)((rn_wide_bits)a - (above >> 52 << 52) + RN_WIDE_ONE) - 1, s = f / (f + 2);
    rn_wide power = b * (n + 2.8853900817779268 * s * RN_SERIES(s * s, rn_atanh_terms));        /* 2 / log 2 */
    power = RN_WIDE_SELECT(power > most, most, RN_WIDE_SELECT(power < -most, -most, power));
    rn_wide whole = power + RN_WIDE_ROUNDER;
    rn_wide rest = (power - (whole - RN_WIDE_ROUNDER)) * 0.6931471805599453;
    return RN_SERIES(rest, rn_series_terms) * (rn_wide)(((rn_wide_bits)whole << 52) + RN_WIDE_ONE);
}

RN_INLINE rn_v rn_pow_size(rn_v a, rn_v b) {
    rn_half x[2], y[2];
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    for (int i = 0; i < 2; i++) {
        rn_wide z = rn_pow_wide(__builtin_convertvector(x[i], rn_wide), __builtin_convertvector(y[i], rn_wide));
        x[i] = __builtin_convertvector(z, rn_half);
    }
    memcpy(&a, x, sizeof a);
    return a;
}

RN_LANES2(rn_pow_libm, powf(a[i], b[i]))

/* Below zero only whole powers are numbers, and odd ones keep the sign. */
RN_INLINE rn_v rn_pow(rn_v a, rn_v b) {
    rn_v size = rn_abs(a), half = b * (real)0.5;
    rn_i whole = RN_MASK(rn_floor(b) == b), odd = whole & RN_MASK(rn_floor(half) != half);
    rn_v at_zero = rn_select(RN_MASK(b > 0), (rn_v){0}, rn_select(RN_MASK(b == 0), rn_all(1), rn_all(RN_INFINITY)));
    rn_v y = rn_select(RN_MASK(size == 0), at_zero, rn_pow_size(size, b));
    y = rn_select(odd, rn_copysign(y, a), rn_select(RN_MASK(a < 0) & ~whole, rn_all(RN_NAN), y));
    rn_i special = ~(RN_MASK(size < RN_INFINITY) & RN_MASK(rn_abs(b) < RN_INFINITY));
    if (RN_UNLIKELY(rn_any(special))) y = rn_select(special, rn_pow_libm(a, b), y);
    return y;
}
#endif

/* ---- remainders, with the divisor's sign, as in Python ---- */

RN_INLINE real rn_floored(real remainder, real divisor) {
    if (remainder == 0) return RN_LIBM(copysign)(0, divisor);
    return (remainder < 0) == (divisor < 0) ? remainder : remainder + divisor;
}
RN_LANES2(rn_mod_libm, rn_floored(RN_LIBM(fmod)(a[i], b[i]), b[i]))

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
RN_INLINE rn_v rn_fused(rn_v a, rn_v b, rn_v c) {               /* a * b + c, rounded once */
    RN_ALIGNED real x[RN_VL], y[RN_VL], z[RN_VL];
    rn_store(x, a), rn_store(y, b), rn_store(z, c);
    for (int i = 0; i < RN_VL; i++) x[i] = RN_LIBM(__builtin_fma)(x[i], y[i], z[i]);
    return rn_load(x);
}

/* a - floor(a / b) b is exact up to its own rounding as long as the quotient has bits to spare. One that was rounded up to
 * a whole number is one too many: then the sign is wrong. */
RN_INLINE rn_v rn_mod(rn_v a, rn_v b) {
    rn_v quotient = a / b, rest = rn_fused(-rn_floor(quotient), b, a);
    rn_v y = rn_select(RN_MASK(rest < 0) ^ RN_MASK(b < 0), rest + b, rest);
    y = rn_select(RN_MASK(rest == 0), rn_copysign((rn_v){0}, b), y);
    rn_i far = RN_MASK(rn_abs(quotient) >= (real)0.25 / RN_EPSILON);
    far &= RN_MASK(rn_abs(a) < RN_INFINITY) & RN_MASK(b != 0);
    far |= RN_MASK(rn_abs(b) == RN_INFINITY);
    if (RN_UNLIKELY(rn_any(far))) y = rn_select(far, rn_mod_libm(a, b), y);
    return y;
}
#else
RN_INLINE rn_v rn_mod(rn_v a, rn_v b) { return rn_mod_libm(a, b); }
#endif
RN_ONE2(rn_mod) RN_ONE2(rn_pow)
