// SPDX-License-Identifier: Apache-2.0
// The two functions of libm that sampling needs: the library is linked with libc alone.
#ifndef LARDER_BASE_REAL_H
#define LARDER_BASE_REAL_H

// Natural logarithm of a normal positive number, to a relative 1e-12.
double lr_ln(double x);

// 1 - exp(-x) for x >= 0, to a relative 1e-10; exact where it matters, at small x.
double lr_one_minus_exp(double x);

#endif
