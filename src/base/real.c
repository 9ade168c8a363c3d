// SPDX-License-Identifier: Apache-2.0
#include "base/real.h"

#include <stdint.h>
#include <string.h>

#define LN2 0.69314718055994530942
#define SQRT2 1.41421356237309504880

enum {
    LN_TERMS = 10,  // |s| <= 0.172: s^21 is below 1e-16
    EXP_TERMS = 14, // |x| <= 0.35: x^14 / 14! is below 1e-17
    MANTISSA_BITS = 52,
    EXPONENT_BIAS = 1023,
};

double lr_ln(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> MANTISSA_BITS) - EXPONENT_BIAS;
    bits =
        (bits & (((uint64_t)1 << MANTISSA_BITS) - 1)) | ((uint64_t)EXPONENT_BIAS << MANTISSA_BITS);
    double mantissa;
    memcpy(&mantissa, &bits, sizeof mantissa);
    if (mantissa > SQRT2) {
        mantissa /= 2;
        exponent++;
    }
    // ln m = 2 artanh((m - 1) / (m + 1))
    double s = (mantissa - 1) / (mantissa + 1);
    double sum = 0;
    for (int i = LN_TERMS; i >= 0; i--) {
        sum = sum * s * s + 1.0 / (2 * i + 1);
    }
    return exponent * LN2 + 2 * s * sum;
}

// 1 - exp(-x) for 0 <= x <= 0.35, by its series.
static double small(double x) {
    double sum = 0;
    for (int i = EXP_TERMS; i >= 1; i--) {
        sum = (1 - sum) * x / i;
    }
    return sum;
}

double lr_one_minus_exp(double x) {
    if (x > 40) {
        return 1; // to the last bit
    }
    int halvings = 0;
    while (x > 0.35) {
        x /= 2;
        halvings++;
    }
    double y = small(x);
    for (; halvings > 0; halvings--) {
        y = y * (2 - y); // 1 - (1 - y)^2
    }
    return y;
}
