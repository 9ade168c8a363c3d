// SPDX-License-Identifier: Apache-2.0
//
// Logarithm and exponential against values computed elsewhere, and against each other.
#include "base/real.h"

#include "support.h"

static bool near(double a, double b, double relative) {
    double difference = a > b ? a - b : b - a;
    return difference <= relative * (b < 0 ? -b : b);
}

START_TEST(test_real__ln) {
    EXPECT(lr_ln(1) == 0);
    EXPECT(near(lr_ln(2), 0.6931471805599453, 1e-12));
    EXPECT(near(lr_ln(10), 2.302585092994046, 1e-12));
    EXPECT(near(lr_ln(0.9999999), -1.0000000500000033e-07, 1e-8));
    EXPECT(near(lr_ln(1.4142135623730951), 0.34657359027997264, 1e-12));
    EXPECT(near(lr_ln(0x1p-53), -36.7368005696771, 1e-12));
    EXPECT(near(lr_ln(123456.789), 11.723646487185881, 1e-12));
}
END_TEST

START_TEST(test_real__one_minus_exp) {
    EXPECT(lr_one_minus_exp(0) == 0);
    EXPECT(near(lr_one_minus_exp(1e-9), 9.999999995e-10, 1e-10));
    EXPECT(near(lr_one_minus_exp(0.35), 0.2953119102812866, 1e-12));
    EXPECT(near(lr_one_minus_exp(1), 0.6321205588285577, 1e-12));
    EXPECT(near(lr_one_minus_exp(20), 0.9999999979388464, 1e-12));
    EXPECT(lr_one_minus_exp(41) == 1);
    EXPECT(lr_one_minus_exp(1e300) == 1);
}
END_TEST

// exp(ln x) is x.
START_TEST(test_real__inverse) {
    for (double x = 1e-6; x < 1; x += 1.7e-3)
        EXPECT(near(1 - lr_one_minus_exp(-lr_ln(x)), x, 1e-9));
}
END_TEST

Suite *lr_suite(void) {
    Suite *suite = suite_create("base/real");
    test_add(suite, test_real__ln);
    test_add(suite, test_real__one_minus_exp);
    test_add(suite, test_real__inverse);
    return suite;
}
