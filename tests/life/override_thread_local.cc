// SPDX-License-Identifier: Apache-2.0
//
// C++ thread_local objects: built on first use, destroyed at the end of their thread, allocating in
// both and handing blocks to other threads.
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../support/plain.h"

namespace {

constexpr int rounds = 50;
constexpr int width = 4;

std::atomic<int> built;
std::atomic<int> destroyed;
std::mutex legacy_lock;
std::vector<std::string> legacy; // what destructors leave to main

struct Owner {
    std::map<int, std::string> texts;
    std::vector<char> large;

    Owner() : large(500000, 'x') {
        for (int i = 0; i < 200; i++)
            texts[i] = std::string(static_cast<size_t>(i) * 10, 'y');
        built++;
    }
    Owner(const Owner &) = delete;
    Owner &operator=(const Owner &) = delete;
    ~Owner() {
        CHECK(large[499999] == 'x' && texts[199].size() == 1990);
        const std::lock_guard<std::mutex> guard(legacy_lock);
        legacy.push_back(texts[150] + std::to_string(texts.size()));
        destroyed++;
    }
};

thread_local Owner owner;

void use_owner() {
    for (int i = 0; i < 200; i++)
        owner.texts[i] += "y";
    for (int i = 0; i < 200; i++)
        owner.texts[i].pop_back();
    std::vector<std::string> scratch(1000, std::string(100, 'z'));
    CHECK(scratch[999].back() == 'z');
}

} // namespace

int main() {
    plain_require_larder();
    for (int round = 0; round < rounds; round++) {
        std::vector<std::thread> threads;
        for (int i = 0; i < width; i++)
            threads.emplace_back(use_owner);
        for (std::thread &thread : threads)
            thread.join();
    }
    CHECK(built == rounds * width && destroyed == built);
    CHECK(legacy.size() == static_cast<size_t>(rounds * width));
    for (const std::string &text : legacy)
        CHECK(text == std::string(1500, 'y') + "200");
    use_owner(); // main's own, destroyed during exit
    return 0;
}
