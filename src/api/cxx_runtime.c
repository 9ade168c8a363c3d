// SPDX-License-Identifier: Apache-2.0
// Where the runtime is looked for, in this order:
//  1. weak references: the executable or a library that it was linked with has the runtime, which
//     is the case of nearly every C++ program; also the only way in a static executable;
//  2. the global scope as it is now: the runtime came later, by dlopen with RTLD_GLOBAL;
//  3. the runtimes by name, without loading them: it came as a dependency of a plug-in loaded with
//     RTLD_LOCAL, invisible to a library outside of it.
// Nothing found is kept: this runs once in a failed request, and a runtime can be unloaded.
#include "api/cxx_runtime.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "base/print.h"

#ifndef __EXCEPTIONS
#error "this file has to be compiled with -fexceptions"
#endif

// Weak as well, and absent from most static executables. dlopen() is asked for by its name, because
// the linker warns about each static program that refers to it.
#pragma weak dlsym

typedef void new_handler(void);

// std::get_new_handler() and std::__throw_bad_alloc()
extern new_handler *std_get_new_handler(void) __asm__("_ZSt15get_new_handlerv")
    __attribute__((weak));
extern void std_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

// The Itanium C++ ABI's way to throw, and what std::bad_alloc is made of there.
extern void *cxa_allocate_exception(size_t bytes) __asm__("__cxa_allocate_exception")
    __attribute__((weak));
extern void cxa_throw(void *exception, const void *type,
                      void (*destroy)(void *)) __asm__("__cxa_throw") __attribute__((weak));
extern const void *const class_type_info_vtable[] __asm__("_ZTVN10__cxxabiv117__class_type_infoE")
    __attribute__((weak));
extern const void *const bad_alloc_vtable[] __asm__("_ZTVSt9bad_alloc") __attribute__((weak));
extern const char bad_alloc_type_info[] __asm__("_ZTISt9bad_alloc") __attribute__((weak));
extern void bad_alloc_destroy(void *exception) __asm__("_ZNSt9bad_allocD1Ev") __attribute__((weak));

// `name` in one of the runtimes that are loaded, wherever they are visible; NULL if in none.
static void *find_by_library(const char *name) {
    static const char *const runtimes[] = {"libstdc++.so.6", "libc++abi.so.1", "libc++.so.1"};
    __typeof__(dlopen) *open = (__typeof__(dlopen) *)dlsym(RTLD_DEFAULT, "dlopen");
    __typeof__(dlclose) *close = (__typeof__(dlclose) *)dlsym(RTLD_DEFAULT, "dlclose");
    void *found = NULL;
    if (open == NULL || close == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof runtimes / sizeof runtimes[0] && found == NULL; i++) {
        void *runtime = open(runtimes[i], RTLD_LAZY | RTLD_NOLOAD);
        if (runtime != NULL) {
            found = dlsym(runtime, name);
            close(runtime);
        }
    }
    return found;
}

// dlsym() in `scope`, then in the runtimes.
static void *find(void *scope, const char *name) {
    if (dlsym == NULL) {
        return NULL;
    }
    void *found = dlsym(scope, name);
    return found != NULL ? found : find_by_library(name);
}

static new_handler *current_handler(void) {
    new_handler *(*get)(void) = std_get_new_handler;
    if (get == NULL) {
        get = (new_handler * (*)(void)) find(RTLD_DEFAULT, "_ZSt15get_new_handlerv");
    }
    return get != NULL ? get() : NULL;
}

bool lr_cxx_has_new_handler(void) { return current_handler() != NULL; }

bool lr_cxx_run_new_handler(void) {
    new_handler *handler = current_handler();
    if (handler == NULL) {
        return false;
    }
    handler();
    return true;
}

// A static executable holds only the parts of the runtime that it names itself, and those that
// throw can be there without __throw_bad_alloc. One that never names std::bad_alloc has no type of
// that name either: only catch (...) can catch what it cannot name, so any type will do there.
static void throw_by_abi(void) {
    // The layout of std::type_info.
    static const struct {
        const void *vtable;
        const char *name;
    } stand_in = {.vtable = &class_type_info_vtable[2], .name = "St9bad_alloc"};

    if (cxa_allocate_exception == NULL || cxa_throw == NULL) {
        return;
    }
    if (bad_alloc_type_info == NULL && class_type_info_vtable == NULL) {
        return;
    }
    const void **exception = cxa_allocate_exception(sizeof *exception);
    // An object points behind the first two entries of its vtable: offset to top and type.
    if (bad_alloc_type_info != NULL) {
        *exception = &bad_alloc_vtable[2];
        cxa_throw(exception, bad_alloc_type_info, bad_alloc_destroy);
    } else {
        *exception = NULL;
        cxa_throw(exception, &stand_in, NULL);
    }
}

void lr_cxx_throw_bad_alloc(size_t size) {
    void (*throw_bad_alloc)(void) = std_throw_bad_alloc;
    if (throw_bad_alloc == NULL) {
        throw_bad_alloc = (void (*)(void))find(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv");
    }
    if (throw_bad_alloc != NULL) {
        throw_bad_alloc();
    }
    throw_by_abi();
    lr_print_line("larder: operator new of %zu bytes failed in a program without a C++ runtime "
                  "that could throw std::bad_alloc; aborted\n",
                  size);
    abort();
}

void *lr_cxx_next(const char *name) { return find(RTLD_NEXT, name); }
