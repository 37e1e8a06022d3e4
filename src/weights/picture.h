// A small picture of a comparison: the KL divergence of each position of the text, as a PNG.
//
// Left to right the positions, bottom to top the divergence from 10^-5 to 10 nats on a logarithmic scale: a
// dot each, red where the most likely tokens differ, and a line of the mean of the positions around. Above it
// the figures.
#pragma once

#include <string>

#include "base/status.h"
#include "weights/verify_report.h"

namespace mlc::weights {

// The bytes of the file. The report has its positions.
std::string verify_picture(const VerifyReport& report);

}  // namespace mlc::weights
