// What the test programs have in common: each sets up one feature of a process or of a tree, waits
// through dump and restore, and looks whether all is as it was. state.cpp starts them.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace state {

// A test sets up and returns its check.
using Check = std::function<void()>;
using Tests = std::vector<std::pair<const char*, Check (*)()>>;

extern const Tests kMemoryTests, kSignalsTests, kTimersTests, kAttributesTests, kFilesTests,
    kThreadsTests, kCallsTests, kFamilyTests, kSharingTests, kSpacesTests, kNamelessTests,
    kSocketsTests;

constexpr std::size_t kPage = 4096;

[[noreturn]] void bad(const std::string& what);  // says so, with errno, and exits with status 1
void check(bool good, const std::string& what);
// What needs rights that are missing here: exits with status 77.
[[noreturn]] void skip(const std::string& what);

// Says that the dump may come and returns when the end is asked for. main() does so after the
// setup; a setup that has to wait in a place of its own calls it there.
void ready_and_wait();

char* map(std::size_t size, int protection, int flags, int fd = -1, off_t offset = 0);
int scratch_file(const char* text);
std::string path_of(int fd);
// The check removes the file.
Check then_remove(const std::string& path, Check rest);
std::string read_all(const std::string& path);
std::string line_of(const std::string& path, const std::string& key);
double seconds_of(clockid_t clock);

// A process of the test. It sets up, waits, looks when content() asks for it, and exits; whoever
// started it goes on once it waits. `flags` are those of clone3(2).
pid_t member(const std::function<Check()>& setup, std::uint64_t flags = 0);
void content(pid_t member);  // a child of the caller
void ask(pid_t member);      // of anybody's
// fork(2), with flags the bare system call: the C library does not learn the child's number then.
pid_t fork_with(std::uint64_t flags);
// The number that a child tells (by tell()) before it ends: that of a child of its own.
pid_t told(const std::function<void(int out)>& work);
void tell(int out, pid_t number);
// An orphan in the session and the group of leaders that are gone. content() checks that it still
// is, and calls `look` there with those two numbers.
pid_t orphan_of_leaders(const std::function<void(pid_t session, pid_t group)>& look);
// Waits until a process sleeps in the system call `nr` (or in its restarted form).
void until_in_call(pid_t pid, long nr);
bool in_call(pid_t pid, long nr);
// Waits for what comes true by itself, a minute at most.
void until(const std::function<bool()>& condition, const std::string& what);
char state_of(pid_t pid);              // R, S, T, Z...
std::vector<long> stat_of(pid_t pid);  // ppid, pgrp, session

}  // namespace state
