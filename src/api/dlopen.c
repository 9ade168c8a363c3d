// SPDX-License-Identifier: Apache-2.0
// dlopen() without RTLD_DEEPBIND. A module loaded with that flag looks into its own dependencies
// first and takes malloc and free from libc, while what it calls in the program takes them from
// here: the first block that one allocates and the other frees ends the process. PHP, for one,
// loads all extensions so. The flag is a wish for the module's own versions of other symbols, which
// the program can have back by LARDER_DEEPBIND=1.
//
// Part of the shared library only: static executables have no use for the flag.
#define _GNU_SOURCE 1
#include "api/override.h"

#if LARDER_OVERRIDE

#include <dlfcn.h>

#include "api/start.h"
#include "base/attr.h"
#include "conf/options.h"

// In libdl before glibc 2.34. Who calls dlopen() has loaded that, unless it only found ours by a
// weak reference.
#pragma weak dlsym

typedef void *dlopen_function(const char *file, int mode);
static _Atomic(dlopen_function *) next; // relaxed: whoever finds NULL looks it up again

__attribute__((visibility("default"))) void *dlopen(const char *file, int mode) {
    dlopen_function *open = lr_load_relaxed(&next);
    if (open == NULL) {
        open = dlsym != NULL ? (dlopen_function *)dlsym(RTLD_NEXT, "dlopen") : NULL;
        if (open == NULL) {
            return NULL;
        }
        lr_store_relaxed(&next, open);
    }
    if (!lr_start() || lr_opt_deepbind() == 0) {
        mode &= ~RTLD_DEEPBIND;
    }
    // In tail position, which makes it a jump: libc judges by the return address whose RUNPATH
    // counts, and what $ORIGIN and the namespace are.
    return open(file, mode);
}

#endif
