// SPDX-License-Identifier: Apache-2.0
// Static tracepoints (USDT) that bpftrace, perf and SystemTap find by name.
//
// A probe is one nop. A note in the ELF file, which is not loaded, says where it is and in which
// registers its arguments are; a tracer puts a breakpoint on it. This is what <sys/sdt.h> makes,
// written here because the build does without SystemTap's headers. Arguments are 64 bits wide.
#ifndef LARDER_BASE_PROBE_H
#define LARDER_BASE_PROBE_H

#include <stdint.h>

#if defined(__x86_64__) || defined(__aarch64__)

// owner, type 3; the address of the nop, that of .stapsdt.base (prelinking is noticed by it), no
// semaphore; provider, name, arguments.
#define LR_PROBE_NOTE(provider, name, arguments)                                                   \
    "990: nop\n"                                                                                   \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n"                                                  \
    ".balign 4\n"                                                                                  \
    ".4byte 992f-991f, 994f-993f, 3\n"                                                             \
    "991: .asciz \"stapsdt\"\n"                                                                    \
    "992: .balign 4\n"                                                                             \
    "993: .8byte 990b, _.stapsdt.base, 0\n"                                                        \
    ".asciz \"" #provider "\"\n"                                                                   \
    ".asciz \"" #name "\"\n"                                                                       \
    ".asciz \"" arguments "\"\n"                                                                   \
    "994: .balign 4\n"                                                                             \
    ".popsection\n"                                                                                \
    ".ifndef _.stapsdt.base\n"                                                                     \
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                        \
    ".weak _.stapsdt.base\n"                                                                       \
    ".hidden _.stapsdt.base\n"                                                                     \
    "_.stapsdt.base: .space 1\n"                                                                   \
    ".size _.stapsdt.base, 1\n"                                                                    \
    ".popsection\n"                                                                                \
    ".endif\n"

#define LR_PROBE1(provider, name, a)                                                               \
    __asm__ volatile(LR_PROBE_NOTE(provider, name, "8@%0") : : "r"((uint64_t)(a)))
#define LR_PROBE3(provider, name, a, b, c)                                                         \
    __asm__ volatile(LR_PROBE_NOTE(provider, name, "8@%0 8@%1 8@%2")                               \
                     :                                                                             \
                     : "r"((uint64_t)(a)), "r"((uint64_t)(b)), "r"((uint64_t)(c)))

#else
#define LR_PROBE1(provider, name, a) (void)(a)
#define LR_PROBE3(provider, name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
