// The other ways of looking at an image: summary, pid objects, open files, bare records.
#pragma once

#include "cli/image_facts.h"
#include "cli/image_io.h"
#include "cli/output.h"

namespace ckpt::cli {

// What it is, whence, how much of what; a dozen lines.
void print_summary(Out& out, const Style& style, const ImageFacts& facts, const LoadedImage& image);

// A table of all pid objects; with `only`, of those that this process uses.
void print_pids(Out& out, const Style& style, const ImageFacts& facts, const ProcessFacts* only);

// The open files of each process, as lsof(8) would show them; with `only`, of this process.
void print_fds(Out& out, const Style& style, const ImageFacts& facts, const ProcessFacts* only);

// The mappings of each process and how much of them is in the image; with `only`, of this process.
void print_maps(Out& out, const Style& style, const ImageFacts& facts, const ProcessFacts* only);

// The trace that the image holds, a line for each record; with `only`, of this process. JSON: an
// object with a list.
void print_trace(Out& out, const format::Image& image, std::optional<std::int32_t> only, bool json);

// All records of the image at `path`, a line each, up to the first damage, which is returned.
// `pid`: only the records of this process, and those of objects that it is the first to use.
Status print_records(Console& console, const std::string& path, std::optional<std::int32_t> pid);

}  // namespace ckpt::cli
