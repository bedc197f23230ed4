// The commands and their options, as typed and as --help shows them. cli/ckpt.1 says the same at
// length; a test compares the two.
#include "cli/options.h"

namespace ckpt::cli {

namespace {

const OptionSpec kHelp{'h', "help", "", "this text"};
const OptionSpec kQuiet{'q', "quiet", "", "say nothing but errors and warnings"};
const OptionSpec kVerbose{'v', "verbose", "", "say more"};
const OptionSpec kColor{0, "color", "WHEN", "auto (on a terminal), always or never"};
const OptionSpec kJson{0, "json", "", "JSON on standard output, errors too"};

CommandSpec dump() {
  CommandSpec c;
  c.name = "dump";
  c.summary = "(--pid PID | --history FILE) [-o IMAGE]   save processes in an image";
  c.usage =
      "--pid PID [-o IMAGE] [--leave-running | --leave-stopped] [--no-memory]\n"
      "          [--deleted-limit SIZE] [--container | --subtree] [--trace OUT]\n"
      "--history FILE [--at LINE] [-o IMAGE] [--container | --subtree] [--trace OUT]";
  c.text =
      "Saves a process and all its descendants in an image: the live one with this PID, or the\n"
      "first one of a history, which is the text that strace -f writes. Live processes are "
      "frozen,\n"
      "saved with their memory and registers, and ended once the image is safe on disk. If "
      "something\n"
      "in them cannot be saved, all of it is named, and they go on.";
  c.options = {{'p', "pid", "PID", "the live process PID and all its descendants"},
               {0, "history", "FILE", "the processes of a strace log; - is standard input"},
               {0, "at", "LINE", "the history as it stood after this line, not at its end"},
               {'o', "output", "IMAGE",
                "where to: a file, or - for standard output; by default -, or\n"
                "ckpt-PID.ckpt if standard output is a terminal"},
               {0, "trace", "OUT",
                "write down who did what, each LWP by itself, as a history; it is\n"
                "also in the image, for inspect --trace"},
               {0, "container", "", "insist on a whole pid namespace without outside ids"},
               {0, "subtree", "", "do not, even where it would be one"},
               {0, "leave-running", "", "the processes go on afterwards"},
               {0, "leave-stopped", "", "the processes are stopped afterwards"},
               {0, "deleted-limit", "SIZE",
                "save deleted files that are still open with up to SIZE bytes\n"
                "of contents each: digits and K, M, G or T; 64M by default"},
               {0, "no-memory", "",
                "the tree, its ids and open files alone; with --leave-running\n"
                "no process is disturbed"},
               kQuiet,
               kVerbose,
               kColor,
               kHelp};
  c.exclusive = {{"pid", "history"},
                 {"container", "subtree"},
                 {"leave-running", "leave-stopped"},
                 {"quiet", "verbose"}};
  return c;
}

CommandSpec restore() {
  CommandSpec c;
  c.name = "restore";
  c.summary = "IMAGE [--plan | --rehearse]               bring an image back";
  c.usage =
      "IMAGE [--here | --no-pids] [--detach | --shell-job]\n"
      "IMAGE (--plan | --rehearse [--touch|--eager-files]) [--here|--no-pids] [--json]";
  c.text =
      "Rehearses the restore in a simulated kernel: plans the system calls that make the tree\n"
      "again, carries them out there, and compares what comes out with the image. Then it does so\n"
      "for real, waits for the root process, and exits with its status (128+N if signal N ended\n"
      "it; its own failures are 125). Of an image without memory, as a history's, the rehearsed\n"
      "machine is the result; it is shown. A user who is not root restores processes of his own, "
      "in\n"
      "a new user namespace; with --here that takes CAP_CHECKPOINT_RESTORE.";
  c.options = {{0, "plan", "", "print the steps and what would go wrong; change nothing"},
               {0, "rehearse", "", "stop after the rehearsal and show the tree"},
               {0, "touch", "",
                "with --rehearse: reopen the regular files and directories for real, and\n"
                "show every descriptor, live or never needed"},
               {0, "here", "",
                "into the present pid namespace with the original numbers:\n"
                "name every number that is taken, and by whom"},
               {0, "no-pids", "",
                "with new numbers, in the present pid namespace;\n"
                "for images with one pid namespace"},
               {0, "detach", "", "return as soon as the processes run"},
               {0, "shell-job", "",
                "a job whose shell is not in the image: it takes the terminal that it\n"
                "is restored from, and the foreground, until it ends or stops"},
               {0, "eager-files", "", "reopen every file at once, not each at its first use"},
               kJson,
               kQuiet,
               kVerbose,
               kColor,
               kHelp};
  c.exclusive = {{"plan", "rehearse", "detach"},
                 {"rehearse", "detach", "shell-job"},
                 {"plan", "eager-files"},
                 {"touch", "eager-files"},
                 {"here", "no-pids"},
                 {"quiet", "verbose"}};
  c.operand = "IMAGE";
  c.min_operands = c.max_operands = 1;
  return c;
}

CommandSpec inspect() {
  CommandSpec c;
  c.name = "inspect";
  c.summary = "IMAGE [--tree|--pids|--fds|--maps|...]    look at an image";
  c.usage =
      "IMAGE [--tree | --pids | --fds | --maps | --records | --trace]\n"
      "          [--pid PID] [--json]";
  c.text = "Shows what an image holds: without options a summary and the tree.";
  c.options = {
      {0, "tree", "", "the tree alone, with all ghosts"},
      {0, "pids", "", "all pid objects: numbers at every level, and who uses them"},
      {0, "fds", "", "the open files of each process"},
      {0, "maps", "", "the mappings of each process, and how much of them is in the image"},
      {0, "records", "", "the records, one on a line; of a damaged image up to the damage"},
      {0, "trace", "", "who did what, each LWP by itself, if it was dumped with --trace"},
      {'p', "pid", "PID", "this process alone (its number in the root namespace)"},
      kJson,
      kQuiet,
      {'v', "verbose", "", "the tree with a line for each thread"},
      kColor,
      kHelp};
  c.exclusive = {{"tree", "pids", "fds", "maps", "records", "trace"}, {"quiet", "verbose"}};
  c.operand = "IMAGE";
  c.min_operands = c.max_operands = 1;
  return c;
}

CommandSpec diff() {
  CommandSpec c;
  c.name = "diff";
  c.summary = "IMAGE IMAGE                               compare two images";
  c.usage = "IMAGE IMAGE [--json]";
  c.text =
      "Compares two images, leaving out what does not matter: host and time, the numbering of\n"
      "objects, whether a file is already reopened. Exits with 0 if they are the same, 1 if they\n"
      "differ, 2 if they could not be compared, 3 if one is damaged.";
  c.options = {kJson,
               {'q', "quiet", "", "print nothing: the exit code tells"},
               {'v', "verbose", "", "say so if they are the same"},
               kColor,
               kHelp};
  c.exclusive = {{"quiet", "verbose"}};
  c.operand = "IMAGE";
  c.min_operands = c.max_operands = 2;
  return c;
}

CommandSpec verify() {
  CommandSpec c;
  c.name = "verify";
  c.summary = "IMAGE...                                  check images";
  c.usage = "IMAGE...";
  c.text =
      "Reads each image whole, checks it, and rehearses its restore. Exits with 0 if all are "
      "good,\n"
      "1 if one cannot be read or restored, 3 if one is damaged.";
  c.options = {{'q', "quiet", "", "say nothing of good images"},
               {'v', "verbose", "", "say more of good images: format, source, mode, objects"},
               kColor,
               kHelp};
  c.exclusive = {{"quiet", "verbose"}};
  c.operand = "IMAGE";
  c.min_operands = 1;
  c.max_operands = SIZE_MAX;
  return c;
}

}  // namespace

const std::vector<CommandSpec>& commands() {
  static const std::vector<CommandSpec> all{dump(), restore(), inspect(), diff(), verify()};
  return all;
}

}  // namespace ckpt::cli
