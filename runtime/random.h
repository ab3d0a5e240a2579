/* random.h: numbers that nobody remembers: a unit's draw is a function of where it stands.
 *
 * Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"): a
 * cipher of additions, rotations and exclusive ors, which every vector unit has, and whose output passes the known
 * batteries of tests from 13 rounds on. It takes a key and a counter of two words each and gives two words:
 *
 *     call key = T(seed, draw)    row key = T(call key, (frame, stream))    words = T(row key, (unit, site))
 *
 * So the order of work means nothing: threads, vector width and recomputing in the backward pass give the same bits.
 * Words are of 32 bits for both number types. A vector of dropout costs what 2 vectors of exp cost. */
#define RN_PARITY 0x1BD11BDAu

typedef uint32_t rn_words __attribute__((vector_size(4 * RN_VL)));
typedef int32_t rn_word_mask __attribute__((vector_size(4 * RN_VL)));

#define RN_TURN(a, b, by) a += b, b = (b << by | b >> (32 - by)) ^ a
#define RN_TURNS(a, b, r0, r1, r2, r3) RN_TURN(a, b, r0), RN_TURN(a, b, r1), RN_TURN(a, b, r2), RN_TURN(a, b, r3)
/* a and b: counter in, words out; scalars or vectors of uint32_t. k0, k1: the key. */
#define RN_THREEFRY(a, b, k0, k1)                                                                                     \
    do {                                                                                                              \
        const uint32_t k2 = (k0) ^ (k1) ^ RN_PARITY;                                                                  \
        a += (k0), b += (k1);                                                                                         \
        RN_TURNS(a, b, 13, 15, 26, 6), a += (k1), b += k2 + 1u;                                                       \
        RN_TURNS(a, b, 17, 29, 16, 24), a += k2, b += (k0) + 2u;                                                      \
        RN_TURNS(a, b, 13, 15, 26, 6), a += (k0), b += (k1) + 3u;                                                     \
        RN_TURNS(a, b, 17, 29, 16, 24), a += (k1), b += k2 + 4u;                                                      \
        RN_TURNS(a, b, 13, 15, 26, 6), a += k2, b += (k0) + 5u;                                                       \
    } while (0)

/* The key of a counter under a key; both are two words in one number, the first one low. */
RN_INLINE uint64_t rn_key(uint64_t key, uint64_t counter) {
    uint32_t a = (uint32_t)counter, b = (uint32_t)(counter >> 32);
    RN_THREEFRY(a, b, (uint32_t)key, (uint32_t)(key >> 32));
    return a | (uint64_t)b << 32;
}

RN_INLINE uint64_t rn_row_key(uint64_t call, int64_t frame, long stream) {
    return rn_key(call, (uint32_t)frame | (uint64_t)(uint32_t)stream << 32);
}

/* Keys of all rows, from `before` frames before the call to `after` frames behind it. `age`: the frames that each stream
 * has run before the call. */
RN_FUNCTION void rn_frame_keys(uint64_t *keys, uint64_t seed, uint64_t draw, const int64_t *age, long before, long T,
                               long after, long B) {
    const uint64_t call = rn_key(seed, draw);
    for (long t = -before; t < T + after; t++)
        for (long b = 0; b < B; b++) *keys++ = rn_row_key(call, (age ? age[b] : 0) + t, b);
}

/* The same by sequences: the key of each one's first frame. */
RN_FUNCTION void rn_sequence_keys(uint64_t *keys, uint64_t seed, uint64_t draw, const int64_t *age,
                                  const int64_t *since, long T, long B) {
    const uint64_t call = rn_key(seed, draw);
    for (long t = 0; t < T; t++)
        for (long b = 0; b < B; b++) {
            const long r = t * B + b;
            keys[r] = t && since[r] ? keys[r - B] : rn_row_key(call, (age ? age[b] : 0) + t - since[r], b);
        }
}

/* The words of units u, u + 1, ... of a row. */
RN_INLINE void rn_draw(uint64_t key, long u, uint32_t site, rn_words *first, rn_words *second) {
    rn_words a = {0}, b = {0};
    RN_UNROLL for (int i = 0; i < RN_VL; i++) a[i] = (uint32_t)i;
    a += (uint32_t)u, b += site;
    RN_THREEFRY(a, b, (uint32_t)key, (uint32_t)(key >> 32));
    *first = a, *second = b;
}

/* x * scale, but 0 where the word is below the threshold (also where x is NaN). */
RN_INLINE rn_v rn_dropout(rn_v x, uint64_t key, long u, uint32_t site, uint32_t threshold, real scale) {
    rn_words word, other;
    rn_draw(key, u, site, &word, &other);
    return (rn_v)((rn_i)(x * scale) & __builtin_convertvector((rn_word_mask)(word >= threshold), rn_i));
}

/* std times normal numbers, by Box & Muller's sine and cosine of a uniform angle, 24 bits each. */
RN_INLINE rn_v rn_noise(rn_v std, uint64_t key, long u, uint32_t site) {
    rn_words first, second;
    const real bits = (real)16777216;
    rn_draw(key, u, site, &first, &second);
    const rn_v a = __builtin_convertvector((rn_word_mask)(first >> 8), rn_v) + 1;
    const rn_v b = __builtin_convertvector((rn_word_mask)(second >> 8), rn_v);
    return std * (rn_sqrt(-2 * rn_log(a / bits)) * rn_cos(b * ((real)6.2831853071795865 / bits)));
}
