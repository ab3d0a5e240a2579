"""How the polynomials of runtime/maths.h were made: prints their coefficients (needs mpmath).

Remez' exchange, weighted so that the error is relative to the function; the first terms of each series stay exact.
"""

import numpy as np
from mpmath import mp, mpf

mp.dps = 50


def remez(target, weight, powers, low, high):
    """Coefficients c with the least maximum of |weight * (sum c_i x^powers_i - target)|, and that maximum."""
    count = len(powers) + 1
    middle, half = (low + high) / 2, (high - low) / 2
    points = [middle - half * mp.cos(mp.pi * mpf(i) / (count - 1)) for i in range(count)]
    grid = [middle - half * mp.cos(mp.pi * mpf(i) / 600) for i in range(601)]
    for _ in range(12):
        rows = [[x**p for p in powers] + [(-1) ** i / weight(x)] for i, x in enumerate(points)]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([target(x) for x in points]))
        c = list(solution)[:-1]
        errors = [weight(x) * (sum(a * x**p for a, p in zip(c, powers)) - target(x)) for x in grid]
        extremes, start = [], 0                               # the largest error of each run of one sign
        for i in range(1, len(grid) + 1):
            if i == len(grid) or errors[i] * errors[start] < 0:
                extremes.append(max(range(start, i), key=lambda j: abs(errors[j])))
                start = i
        if len(extremes) < count:
            break
        points = [grid[j] for j in extremes[:count]]
    return c, max(abs(e) for e in errors)


def fit(name, target, weight, degree, low, high, number):
    """One polynomial, rounded to the number type."""
    c, best = remez(target, weight, list(range(degree + 1)), mpf(low), mpf(high))
    fixed = [mpf(float(number(a))) for a in c]
    grid = [mpf(low) + (mpf(high) - mpf(low)) * i / 997 for i in range(998)]
    worst = max(abs(weight(x) * (sum(a * x**p for p, a in enumerate(fixed)) - target(x))) for x in grid)
    print(f"{name} {number.__name__}: {float(best):.2e} exact, {float(worst):.2e} rounded")
    print("   ", ", ".join(repr(float(a)) if number is np.float64 else f"{float(a):.9g}f" for a in fixed))


def ratio(f, x, terms):
    """f(x), or its power series near 0 where the direct form cancels."""
    return f(x) if abs(x) > mpf("1e-6") else sum(c * x**i for i, c in enumerate(terms))


tiny = mpf("1e-30")


def exponential(r):                  # (exp(r) - 1 - r - r^2 / 2) / r^3
    return ratio(lambda x: (mp.expm1(x) - x - x**2 / 2) / x**3, r, [1 / mp.factorial(i + 3) for i in range(5)])


def logarithm(z):                    # (2 atanh(s) / s - 2) / z, z = s^2
    return ratio(lambda x: (2 * mp.atanh(mp.sqrt(x)) / mp.sqrt(x) - 2) / x, z, [mpf(2) / (2 * i + 3) for i in range(5)])


def sine(z):                         # (sin(r) - r) / r^3, z = r^2
    return ratio(lambda x: (mp.sin(mp.sqrt(x)) / mp.sqrt(x) - 1) / x, z,
                 [(-1) ** (i + 1) / mp.factorial(2 * i + 3) for i in range(5)])


def cosine(z):                       # (cos(r) - 1 + r^2 / 2) / r^4
    return ratio(lambda x: (mp.cos(mp.sqrt(x)) - 1 + x / 2) / x**2, z,
                 [(-1) ** i / mp.factorial(2 * i + 4) for i in range(5)])


def error_inner(z):                  # erf(x) / x - 1, z = x^2, for x < 1
    return ratio(lambda x: mp.erf(mp.sqrt(x)) / mp.sqrt(x), z,
                 [2 / mp.sqrt(mp.pi) * (-1) ** i / (mp.factorial(i) * (2 * i + 1)) for i in range(5)]) - 1


def error_outer(t):                  # exp(x^2) (1 - erf(x)), t = (x - 2) / (x + 2), for x > 1
    x = 2 * (1 + t) / (1 - t)
    return mp.exp(x**2) * mp.erfc(x)


def error_weight(t):
    x = 2 * (1 + t) / (1 - t)
    return mp.exp(-x**2) / mp.erf(x)


def parts(value, widths):
    """A constant cut into leading parts of so many bits: products with small integers are exact."""
    out = []
    for bits in widths:
        exponent = mp.floor(mp.log(abs(value), 2)) + 1
        unit = mpf(2) ** (exponent - bits)
        out.append(mp.nint(value / unit) * unit)
        value -= out[-1]
    return [float(p) for p in out]


def main():
    half = mp.log(2) / 2 * mpf("1.0005")
    quarter = (mp.pi / 4) ** 2 * mpf("1.001")
    for number, degrees in ((np.float32, (3, 2, 2, 2, 6, 4, 4)), (np.float64, (8, 6, 6, 5, 11, 12, 6))):
        fit("exp", exponential, lambda r: abs(r**3) / max(abs(mp.expm1(r)), tiny) + tiny, degrees[0], -half, half,
            number)
        fit("log", logarithm, lambda z: z / 2 + tiny, degrees[1], 0, mpf("0.02944") * mpf("1.001"), number)
        fit("sin", sine, lambda z: z + tiny, degrees[2], 0, quarter, number)
        fit("cos", cosine, lambda z: z**2 + tiny, degrees[3], 0, quarter, number)
        fit("erf below 1", error_inner, lambda z: 1 / (error_inner(z) + 1), degrees[4], 0, mpf("1.001"), number)
        end = mpf(degrees[6])
        fit("erf above 1", error_outer, error_weight, degrees[5], mpf("-0.334"), (end - 2) / (end + 2), number)
    print("log 2", parts(mp.log(2), (15, 24)), parts(mp.log(2), (42, 53)))
    print("pi/2", parts(mp.pi / 2, (11, 11, 24)), parts(mp.pi / 2, (33, 33, 53)))


if __name__ == "__main__":
    main()
