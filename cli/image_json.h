// An image as JSON, with the keys of INTERFACE. Written entry by entry: the memory for it does not
// grow with the image.
#pragma once

#include <boost/json.hpp>

#include "cli/image_facts.h"
#include "cli/output.h"

namespace ckpt::cli {

// `extra` is added to the object at its end ("ghosts", "reopens"); `only` cuts tasks, pids and
// files down to those of one process. `leave_open`: an "error" is to end the object.
void print_json(Out& out, const ImageFacts& facts, const ProcessFacts* only,
                const boost::json::object& extra = {}, bool leave_open = false);

// "regular", "pipe", ...: files[].type.
const char* file_type_name(const format::File& file);
// Nothing is known of it but that it is there: a history's file from before its first line.
bool unknown_file(const format::ImageFile& file);
// open(2)'s flags: the access mode first, then the status flags; a bit without a name as "0x...".
std::vector<std::string> open_flags(std::uint32_t flags);

}  // namespace ckpt::cli
