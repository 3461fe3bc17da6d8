// What the stand-in libraries share. Defined in libcuda.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>

namespace stand_in {

extern std::recursive_mutex one_at_a_time;             // threads share the device: calls wait for one another
int enter(const char* call);                           // notes the call; not 0 where STAND_IN_FAIL wants it to fail
int enqueue(void* stream, std::function<int()> work);  // work returns 0 or an error of the driver
bool allocated(uintptr_t begin, size_t bytes);
void disturb();                                        // waits for the whole device: whatever is being captured is lost
int setting(const char* name, int otherwise);          // a number from the environment
void takes(int microseconds);                          // work does, by the clock of events where STAND_IN_FASTEST is set

}  // namespace stand_in

#define API extern "C" int
#define ENTER                                                                  \
    std::lock_guard<std::recursive_mutex> alone(stand_in::one_at_a_time);       \
    if (int code = stand_in::enter(__func__)) return code
