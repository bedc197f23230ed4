// Code that fills the registers of a thread with known values, waits, and looks whether they are
// still there: for processes that check themselves while they are dumped.
#pragma once

#include <cstdint>

// Spins `rounds` times with known values in all general registers, the flags, the red zone, the x87
// stack, xmm0 to xmm15 and, if `wide`, zmm16, zmm31 and k1. 0, or what was lost: 1 flags, 2 a
// general register, 3 the red zone, 4 x87, 5 xmm, 6 zmm or k1. `pattern` is 128 bytes.
extern "C" long check_registers(std::uint64_t rounds, const void* pattern, long wide);

// Adds 1 to *counter within a critical section of rseq(2) that takes a while. 0 done, 1 aborted.
// `area` is the thread's struct rseq.
extern "C" long rseq_increment(void* area, std::uint64_t* counter);
