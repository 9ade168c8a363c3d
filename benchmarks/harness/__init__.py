# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/compare and benchmarks/redis are made of. Python's standard library only."""
