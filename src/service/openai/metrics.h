// Counters of served models, under MLC LLM's names (mlc-facts 8.9) and as Prometheus reads them.
#pragma once

#include <vector>

#include "service/openai/embeddings.h"
#include "service/openai/served_model.h"

namespace mlc::serve::openai {

// Nested as MLC LLM nests them.
Json metrics_json(ServedModel& model);
Json metrics_json(const ServedEmbedder& model);
// One line a number, nested names joined with "_"; with several models each has a label `model`. `calls`:
// requests of the API at work.
std::string prometheus_text(const std::vector<ServedModel*>& models,
                            const std::vector<ServedEmbedder*>& embedders, size_t calls);

}  // namespace mlc::serve::openai
