// What the open files of a tree hold beyond what the machine's mirror tells of them.
#pragma once

#include "core/host/owners.h"
#include "core/host/unix_sockets.h"
#include "core/host/unnamed.h"

namespace ckpt::host {

struct Contents {
  UnnamedFiles unnamed;
  FileOwners owners;
  UnixSockets sockets;
};

}  // namespace ckpt::host
