// SPDX-License-Identifier: Apache-2.0
// A C++ program that is linked with Larder: every operator new is Larder's, and a request that
// cannot be met is a std::bad_alloc.
#include <larder/larder.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

struct alignas(256) Wide {
    char bytes[300];
};

bool is_larders(const void *block, std::size_t size, std::size_t alignment) {
    return block != nullptr && larder_malloc_usable_size(const_cast<void *>(block)) ==
                                   larder_good_size(size, alignment);
}

bool operators_are_larders() {
    std::unique_ptr<int64_t> plain(new int64_t(1));
    std::unique_ptr<char[]> array(new char[1000]);
    std::unique_ptr<char[]> quiet(new (std::nothrow) char[1000]);
    std::unique_ptr<Wide> wide(new Wide);
    return is_larders(plain.get(), sizeof(int64_t), 0) && is_larders(array.get(), 1000, 0) &&
           is_larders(quiet.get(), 1000, 0) &&
           is_larders(wide.get(), sizeof(Wide), alignof(Wide)) &&
           reinterpret_cast<std::uintptr_t>(wide.get()) % alignof(Wide) == 0;
}

bool refuses_too_much() {
    volatile std::size_t huge = PTRDIFF_MAX;
    try {
        ::operator delete(::operator new(huge));
        return false;
    } catch (const std::bad_alloc &) {
        return ::operator new(huge, std::nothrow) == nullptr;
    }
}

bool containers_work() {
    std::vector<std::string> words;
    for (int i = 0; i < 10000; i++)
        words.push_back(std::string(static_cast<std::size_t>(i % 200), 'x'));
    return words[199].size() == 199;
}

} // namespace

int main() {
    bool in_thread = false;
    std::thread thread([&] { in_thread = operators_are_larders() && containers_work(); });
    thread.join();
    if (!in_thread || !operators_are_larders()) {
        std::fprintf(stderr, "operator new is not Larder's\n");
        return 1;
    }
    if (!refuses_too_much()) {
        std::fprintf(stderr, "a request of PTRDIFF_MAX bytes was not refused as it must be\n");
        return 1;
    }
    std::printf("Larder %s\n", larder_version());
    return 0;
}
