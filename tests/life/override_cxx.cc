// SPDX-License-Identifier: Apache-2.0
//
// All operators new and delete of a C++ program are Larder's and do what [new.delete] says: sizes,
// alignment, the new_handler loop, std::bad_alloc, nothrow with handlers that throw. The operators
// are called by their symbols, so that the compiler can neither pick another one nor drop a pair.
// Also built as a static executable (TEST_STATIC).
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <larder/ctl.h>
#include <larder/larder.h>

#include "plain.h"

void *op_new(std::size_t) __asm__("_Znwm");
void *op_new_array(std::size_t) __asm__("_Znam");
void *op_new_nt(std::size_t, const std::nothrow_t &) __asm__("_ZnwmRKSt9nothrow_t");
void *op_new_array_nt(std::size_t, const std::nothrow_t &) __asm__("_ZnamRKSt9nothrow_t");
void *op_new_al(std::size_t, std::size_t) __asm__("_ZnwmSt11align_val_t");
void *op_new_array_al(std::size_t, std::size_t) __asm__("_ZnamSt11align_val_t");
void *op_new_al_nt(std::size_t, std::size_t,
                   const std::nothrow_t &) __asm__("_ZnwmSt11align_val_tRKSt9nothrow_t");
void *op_new_array_al_nt(std::size_t, std::size_t,
                         const std::nothrow_t &) __asm__("_ZnamSt11align_val_tRKSt9nothrow_t");

void op_delete(void *) __asm__("_ZdlPv");
void op_delete_array(void *) __asm__("_ZdaPv");
void op_delete_nt(void *, const std::nothrow_t &) __asm__("_ZdlPvRKSt9nothrow_t");
void op_delete_array_nt(void *, const std::nothrow_t &) __asm__("_ZdaPvRKSt9nothrow_t");
void op_delete_sized(void *, std::size_t) __asm__("_ZdlPvm");
void op_delete_array_sized(void *, std::size_t) __asm__("_ZdaPvm");
void op_delete_al(void *, std::size_t) __asm__("_ZdlPvSt11align_val_t");
void op_delete_array_al(void *, std::size_t) __asm__("_ZdaPvSt11align_val_t");
void op_delete_al_nt(void *, std::size_t,
                     const std::nothrow_t &) __asm__("_ZdlPvSt11align_val_tRKSt9nothrow_t");
void op_delete_array_al_nt(void *, std::size_t,
                           const std::nothrow_t &) __asm__("_ZdaPvSt11align_val_tRKSt9nothrow_t");
void op_delete_sized_al(void *, std::size_t, std::size_t) __asm__("_ZdlPvmSt11align_val_t");
void op_delete_array_sized_al(void *, std::size_t, std::size_t) __asm__("_ZdaPvmSt11align_val_t");

namespace {

// Every operator by one signature: alignment is ignored by those that have none.
struct allocation {
    const char *name;
    void *(*allocate)(std::size_t size, std::size_t alignment);
    bool aligned;
    bool nothrow;
};

struct release {
    const char *name;
    void (*free)(void *block, std::size_t size, std::size_t alignment);
    bool aligned; // for blocks of the aligned operators
};

const allocation allocations[] = {
    {"new", [](std::size_t n, std::size_t) { return op_new(n); }, false, false},
    {"new[]", [](std::size_t n, std::size_t) { return op_new_array(n); }, false, false},
    {"new nothrow", [](std::size_t n, std::size_t) { return op_new_nt(n, std::nothrow); }, false,
     true},
    {"new[] nothrow", [](std::size_t n, std::size_t) { return op_new_array_nt(n, std::nothrow); },
     false, true},
    {"new aligned", [](std::size_t n, std::size_t a) { return op_new_al(n, a); }, true, false},
    {"new[] aligned", [](std::size_t n, std::size_t a) { return op_new_array_al(n, a); }, true,
     false},
    {"new aligned nothrow",
     [](std::size_t n, std::size_t a) { return op_new_al_nt(n, a, std::nothrow); }, true, true},
    {"new[] aligned nothrow",
     [](std::size_t n, std::size_t a) { return op_new_array_al_nt(n, a, std::nothrow); }, true,
     true},
};

const release releases[] = {
    {"delete", [](void *p, std::size_t, std::size_t) { op_delete(p); }, false},
    {"delete[]", [](void *p, std::size_t, std::size_t) { op_delete_array(p); }, false},
    {"delete nothrow", [](void *p, std::size_t, std::size_t) { op_delete_nt(p, std::nothrow); },
     false},
    {"delete[] nothrow",
     [](void *p, std::size_t, std::size_t) { op_delete_array_nt(p, std::nothrow); }, false},
    {"delete sized", [](void *p, std::size_t n, std::size_t) { op_delete_sized(p, n); }, false},
    {"delete[] sized", [](void *p, std::size_t n, std::size_t) { op_delete_array_sized(p, n); },
     false},
    {"delete aligned", [](void *p, std::size_t, std::size_t a) { op_delete_al(p, a); }, true},
    {"delete[] aligned", [](void *p, std::size_t, std::size_t a) { op_delete_array_al(p, a); },
     true},
    {"delete aligned nothrow",
     [](void *p, std::size_t, std::size_t a) { op_delete_al_nt(p, a, std::nothrow); }, true},
    {"delete[] aligned nothrow",
     [](void *p, std::size_t, std::size_t a) { op_delete_array_al_nt(p, a, std::nothrow); }, true},
    {"delete sized aligned",
     [](void *p, std::size_t n, std::size_t a) { op_delete_sized_al(p, n, a); }, true},
    {"delete[] sized aligned",
     [](void *p, std::size_t n, std::size_t a) { op_delete_array_sized_al(p, n, a); }, true},
};

// Requests that no machine can meet: above PTRDIFF_MAX, and just below it.
const volatile std::size_t impossible[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 2 - 65536};

// Where a block goes that a compiler would otherwise not allocate at all.
void *volatile sink;

int failures;

// Goes on after a failure, so that one run names all operators that are wrong.
void expect(bool holds, const char *operation, const char *claim) {
    if (!holds) {
        fprintf(stderr, "override_cxx: %s: %s\n", operation, claim);
        failures++;
    }
}

// What an operator did with a request it cannot meet.
enum outcome { GAVE_NULL, GAVE_BLOCK, THREW_BAD_ALLOC, THREW_INT, THREW_OTHER };

outcome attempt(const allocation &a, std::size_t size, std::size_t alignment) {
    try {
        return a.allocate(size, alignment) == nullptr ? GAVE_NULL : GAVE_BLOCK;
    } catch (const std::bad_alloc &) {
        return THREW_BAD_ALLOC;
    } catch (int) {
        return THREW_INT;
    } catch (...) {
        return THREW_OTHER;
    }
}

int handler_calls;

void handler_that_gives_up() {
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void handler_that_throws_int() {
    handler_calls++;
    throw 7;
}

void handler_that_throws_bad_alloc() {
    handler_calls++;
    throw std::bad_alloc();
}

void handler_that_lifts_the_limit() {
    handler_calls++;
    CHECK(larder_option_set("heap_limit", 0) == 0);
}

void operators_are_larders() {
#ifndef TEST_STATIC
    const char *const symbols[] = {"_Znwm",
                                   "_Znam",
                                   "_ZnwmRKSt9nothrow_t",
                                   "_ZnamRKSt9nothrow_t",
                                   "_ZnwmSt11align_val_t",
                                   "_ZnamSt11align_val_t",
                                   "_ZnwmSt11align_val_tRKSt9nothrow_t",
                                   "_ZnamSt11align_val_tRKSt9nothrow_t",
                                   "_ZdlPv",
                                   "_ZdaPv",
                                   "_ZdlPvRKSt9nothrow_t",
                                   "_ZdaPvRKSt9nothrow_t",
                                   "_ZdlPvm",
                                   "_ZdaPvm",
                                   "_ZdlPvSt11align_val_t",
                                   "_ZdaPvSt11align_val_t",
                                   "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                                   "_ZdaPvSt11align_val_tRKSt9nothrow_t",
                                   "_ZdlPvmSt11align_val_t",
                                   "_ZdaPvmSt11align_val_t"};
    for (const char *symbol : symbols) {
        Dl_info where;
        void *const address = dlsym(RTLD_DEFAULT, symbol);
        expect(address != nullptr && dladdr(address, &where) != 0 &&
                   strstr(where.dli_fname, "liblarder") != nullptr,
               symbol, "is not defined by liblarder");
    }
#endif
}

void blocks_are_sound() {
    for (const allocation &a : allocations) {
        for (const release &r : releases) {
            if (r.aligned != a.aligned)
                continue;
            for (std::size_t size : {0ul, 1ul, 24ul, 4096ul, 100000ul, 3000000ul}) {
                for (std::size_t alignment : {1ul, 32ul, 64ul, 4096ul, 65536ul}) {
                    errno = 4321;
                    void *const block = a.allocate(size, alignment);
                    expect(block != nullptr, a.name, "gave NULL");
                    expect(errno == 4321, a.name, "changed errno");
                    const std::size_t aligned_to = a.aligned && alignment > 16 ? alignment : 16;
                    expect(reinterpret_cast<std::uintptr_t>(block) % aligned_to == 0, a.name,
                           "gave a block that is not aligned");
                    expect(larder_malloc_usable_size(block) >= size, a.name, "gave too few bytes");
                    memset(block, 0x5a, size);
                    r.free(block, size, alignment);
                    expect(errno == 4321, r.name, "changed errno");
                }
            }
            r.free(nullptr, 0, 64);
        }
        void *const first = a.allocate(0, 16), *const second = a.allocate(0, 16);
        expect(first != second, a.name, "gave the same block for two requests of 0 bytes");
        releases[a.aligned ? 6 : 0].free(first, 0, 16);
        releases[a.aligned ? 6 : 0].free(second, 0, 16);
    }
}

void failure_without_handler() {
    std::set_new_handler(nullptr);
    for (const allocation &a : allocations)
        for (std::size_t size : impossible)
            expect(attempt(a, size, 64) == (a.nothrow ? GAVE_NULL : THREW_BAD_ALLOC), a.name,
                   a.nothrow ? "no NULL for an impossible size"
                             : "no std::bad_alloc for an impossible size");
}

void handler_runs_until_it_gives_up() {
    for (const allocation &a : allocations) {
        handler_calls = 0;
        std::set_new_handler(handler_that_gives_up);
        expect(attempt(a, impossible[1], 64) == (a.nothrow ? GAVE_NULL : THREW_BAD_ALLOC), a.name,
               "wrong result after the handler gave up");
        // The runtime's nothrow operator cannot be reached in a static executable, but is then
        // the one that runs: the handler is called there too.
        expect(handler_calls == 3, a.name, "did not call the handler until it gave up");
    }
    std::set_new_handler(nullptr);
}

void handler_may_throw() {
    for (const allocation &a : allocations) {
        handler_calls = 0;
        std::set_new_handler(handler_that_throws_int);
        expect(attempt(a, impossible[1], 64) == (a.nothrow ? GAVE_NULL : THREW_INT), a.name,
               "wrong result when the handler threw an int");
        std::set_new_handler(handler_that_throws_bad_alloc);
        expect(attempt(a, impossible[1], 64) == (a.nothrow ? GAVE_NULL : THREW_BAD_ALLOC), a.name,
               "wrong result when the handler threw std::bad_alloc");
        expect(handler_calls == 2, a.name, "did not call each handler once");
    }
    std::set_new_handler(nullptr);
}

// The second try succeeds, because the handler made memory available.
void handler_may_help() {
    const std::size_t size = std::size_t{1} << 30;
    for (const allocation &a : allocations) {
        handler_calls = 0;
        std::set_new_handler(handler_that_lifts_the_limit);
        CHECK(larder_option_set("heap_limit", std::size_t{64} << 20) == 0);
        void *block = nullptr;
        try {
            block = a.allocate(size, 64);
        } catch (...) {
        }
        std::set_new_handler(nullptr);
        expect(block != nullptr, a.name, "gave no block after the handler had lifted the limit");
        expect(handler_calls == 1, a.name, "did not call the handler exactly once");
        releases[a.aligned ? 6 : 0].free(block, size, 64);
    }
}

// No handler could help, so none is asked: the loop would never end.
void alignment_that_does_not_exist() {
    for (const allocation &a : allocations) {
        if (!a.aligned)
            continue;
        handler_calls = 0;
        std::set_new_handler(handler_that_gives_up);
        expect(attempt(a, 64, 48) == (a.nothrow ? GAVE_NULL : THREW_BAD_ALLOC), a.name,
               "wrong result for an alignment of 48");
        expect(handler_calls == 0, a.name, "asked the handler about an alignment of 48");
    }
    std::set_new_handler(nullptr);
}

struct witness {
    explicit witness(int &destroyed_so_far) : destroyed(destroyed_so_far) {}
    ~witness() { destroyed++; }
    int &destroyed;
};

struct throws_in_constructor {
    throws_in_constructor() { throw 1; }
    char payload[200];
};

struct alignas(128) overaligned {
    virtual ~overaligned() = default;
    char payload[100];
};

struct derived : overaligned {
    std::string more = std::string(1000, 'x');
};

void language_and_library() {
    int unwound = 0;
    try {
        const witness here(unwound);
        sink = op_new(impossible[0]);
        expect(false, "new", "returned for an impossible size");
    } catch (const std::bad_alloc &) {
        expect(unwound == 1, "new", "did not unwind its caller");
    }
    try {
        std::unique_ptr<throws_in_constructor> lost(new throws_in_constructor);
        expect(false, "new", "lost the exception of a constructor");
    } catch (int) {
    }
    std::vector<std::unique_ptr<overaligned>> objects;
    for (int i = 0; i < 1000; i++) {
        objects.emplace_back(new derived);
        expect(reinterpret_cast<std::uintptr_t>(objects.back().get()) % 128 == 0, "new derived",
               "is not aligned to 128");
    }
    try {
        std::vector<char> huge;
        huge.reserve(huge.max_size() - 65536);
        sink = huge.data();
        expect(false, "std::vector", "got an impossible size");
    } catch (const std::bad_alloc &) {
    }
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([t] {
            std::map<int, std::string> words;
            for (int i = 0; i < 20000; i++)
                words[i % 500] = std::string(static_cast<std::size_t>(i % 300), char('a' + t));
            CHECK(words.size() == 500 && words[499] == std::string(199, char('a' + t)));
        });
    }
    for (std::thread &thread : threads)
        thread.join();
}

} // namespace

int main() {
#ifndef TEST_STATIC
    plain_require_larder();
#endif
    operators_are_larders();
    blocks_are_sound();
    failure_without_handler();
    handler_runs_until_it_gives_up();
    handler_may_throw();
    alignment_that_does_not_exist();
    handler_may_help();
    language_and_library();
    return failures == 0 ? 0 : 1;
}
