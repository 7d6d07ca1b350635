// SPDX-License-Identifier: GPL-2.0-or-later
//
// The list of bench files, in the order in which they run. Each function registers the benches of
// one file, ours first and then what stands beside it. Called once, from main(), after the EAL has
// started.
#pragma once

#include "bench/suite.hpp"

namespace culvert::bench {

void add_parse_benches(Suite& suite);
void add_flow_key_benches(Suite& suite);
void add_flow_cache_benches(Suite& suite);
void add_flow_insert_benches(Suite& suite);
void add_encap_benches(Suite& suite);
void add_path_benches(Suite& suite);
void add_esp_path_benches(Suite& suite);
void add_checksum_benches(Suite& suite);
void add_esp_benches(Suite& suite);
void add_segmenter_benches(Suite& suite);
void add_contention_benches(Suite& suite);

}  // namespace culvert::bench
