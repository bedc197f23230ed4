// The entry of ckpt_tests. Tests carry the requirement they show as a tag: ckpt_tests --list-tags.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
