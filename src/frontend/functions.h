// The functions a compiled model exports (mlc-facts 5.2) and the arguments they share.
//
// Dimensions: rows = new tokens of all sequences, batch = sequences, wanted = rows whose logits are wanted,
// pages = entries of page_ids, copies = pages or slots to copy.
// Arguments, by name; a function lists only those it uses:
//   input_ids        i32[rows]         embed
//   input_embeds     f32[rows, hidden]
//   hidden_states    f32[rows, hidden] get_logits, batch_select_last_hidden_states
//   logit_positions  i32[wanted]       rows whose logits are wanted
//   positions        i32[rows]         of the row's token in its text, for learned position embeddings
//   token_types      i32[rows]         which of a pair of texts the row's token is of
//   limits           i32[rows]         how many tokens of its sequence a row sees: up to itself, or all
//   mask             i32[rows]         bit d hides from the row the token d before its last one, so that the
//                                      rows of a sequence can be a tree (graph/ops/attention.cpp)
//   row_sequence     i32[rows]         sequence of the row, 0..batch-1
//   row_slots        i32[rows]         where its K and V go: page id * 16 + offset
//   page_indptr      i32[batch + 1]    first entry of each sequence in page_ids
//   page_ids         i32[pages]
//   row_indptr       i32[batch + 1]    first row of each sequence, whose rows follow each other
//   slot_ids         i32[batch]        slot of each sequence, in every layer of every slot state
//   adapter          i32[rows]         which LoRA adapter the row has, -1: none (graph/ops/lora.cpp); where
//                                      the library was compiled for any
//   rope_factors     f32[rows, rotary_dim]  cosines then sines, which the runtime makes by the first rope
//                                      table; rope_factors_1 by the second, and so on
//   skip_begin       i32[batch]        token i of a sequence is stored as its token i, or as i + skip_count
//   skip_count       i32[batch]        from skip_begin on: tokens dropped inside pages that are kept
//   key_factors      f32[keys, rotary_dim]  row i: the factors of position i; keys = window + a step's most
//                                      rows; key_factors_1 by the second rope table, and so on
//   logits           f32[wanted, vocab]  sample
//   draw_settings    f32[wanted, 3]    a row's DrawSettings (base/draw.h)
//   source_pages     i32[copies]       page ids
//   target_pages     i32[copies]
//   source_slots     i32[copies]       slot ids
//   target_slots     i32[copies]
// Where layers differ in what they retain (graph/passes/retain_windows.h), the states of each further window
// have block tables of their own: row_slots_1, page_indptr_1, page_ids_1 over pages_1, and copy_pages_1.
// Results: f32[rows or wanted, hidden] hidden states, or f32[rows or wanted, vocab] logits.
//
// The functions (set B of mlc-facts 5.2, for every model that generates) and what each lists:
//   embed                            input_ids                        -> f32[rows, hidden]
//   prefill, batch_prefill           input_embeds, logit_positions, S -> f32[wanted, vocab]
//   batch_verify                     input_embeds, logit_positions, mask, S -> f32[wanted, vocab]
//   decode, batch_decode             input_embeds, S                  -> f32[rows, vocab]
//   {prefill, decode, batch_prefill, batch_decode, batch_verify}_to_last_hidden_states
//                                    input_embeds, S                  -> f32[rows, hidden], normed;
//                                                                        batch_verify's with mask
//   get_logits                       hidden_states                    -> f32[rows, vocab]
//   batch_select_last_hidden_states  hidden_states, logit_positions   -> f32[wanted, hidden]
//   sample                           logits, draw_settings            -> i32[wanted, 1], where asked for
//   copy_pages                       source_pages, target_pages       -> nothing; in every layer, for forks
//   copy_slots                       source_slots, target_slots       -> nothing; likewise
// where the module has pages, or slots.
// An encoder has embed and
//   prefill, batch_prefill, prefill_to_last_hidden_states, batch_prefill_to_last_hidden_states
//                                    input_embeds, S                  -> f32[rows, hidden]
// and is given texts whole, one step each. A decoder that gives embeddings has embed and the functions
//   {prefill, decode, batch_prefill, batch_decode}_to_last_hidden_states.
//
// A draft head (medusa) has one function, which gives as many results as it proposes tokens in a row:
//   get_logits                       hidden_states                    -> f32[rows, vocab] of each
//
// S = limits, row_sequence, row_slots, page_indptr, page_ids of attention; row_indptr, slot_ids of
// recurrences; adapter of linears with adapters; positions and token_types where they are learned;
// rope_factors where heads are rotated; with a rolling window also skip_begin, skip_count and, where heads
// are rotated, key_factors. Functions of one line of the table have the same body: a compiler may build it
// once. Rows are ragged: decode is the case of one row a sequence, so all of S has the same meaning
// everywhere. The integer arguments of steps (kStepFields) are fields of one packed buffer.
// create_paged_kv_cache is the runtime's: the module's state "kv" describes the cache.
//
// batch_verify has a mask in libraries that are compiled for trees; else it is batch_prefill. Rows cannot be
// trees where a rolling window drops tokens, a recurrence has one past, or scores are biased by distance.
//
// Rolling window of W tokens, S of them sinks (arXiv:2309.17453): after each step the runtime drops from a
// longer sequence all but its first S and last W - S tokens. Positions are indices in the cache, so a token's
// position falls as others are dropped: keys are cached unrotated, and attention rotates them. A step's rows
// all enter before any are dropped: they may see more than W tokens. A window that drops nothing and only
// limits what a layer's rows see is an attribute of its attention (graph/ops/attention.cpp).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/model.h"
#include "graph/builder.h"

namespace mlc::frontend {

// The module's paged cache.
inline constexpr char kKvState[] = "kv";
inline constexpr int64_t kPageSize = 16;  // tokens

inline constexpr std::string_view kStepFields[] = {
    "input_ids", "positions",       "token_types", "limits",   "row_sequence",
    "row_slots", "logit_positions", "page_indptr", "page_ids", "row_indptr",
    "slot_ids",  "skip_begin",      "skip_count",  "mask",     "adapter"};

// The field that linears with adapters read (layers/linear.h).
inline constexpr char kAdapterField[] = "adapter";

// The arguments of a function that runs the transformer, as graph values (nullptr where the function has
// none).
struct StepInputs {
  graph::Value* positions = nullptr;
  graph::Value* token_types = nullptr;
  graph::Value* limits = nullptr;
  graph::Value* row_sequence = nullptr;
  graph::Value* row_slots = nullptr;
  graph::Value* page_indptr = nullptr;
  graph::Value* page_ids = nullptr;
  graph::Value* mask = nullptr;
  graph::Value* row_indptr = nullptr;
  graph::Value* slot_ids = nullptr;
  // Of a rope table: of the rows, and where a rolling window drops tokens, of the keys.
  struct Rotation {
    graph::Value *rows = nullptr, *keys = nullptr;
  };
  std::vector<Rotation> rotations;  // by table
  graph::Value *skip_begin = nullptr, *skip_count = nullptr;

  // Of queries over cached keys, without sinks and what a rolling window needs.
  graph::AttentionInputs attention(graph::Value* q) const {
    return {.q = q,
            .row_sequence = row_sequence,
            .limits = limits,
            .page_indptr = page_indptr,
            .page_ids = page_ids,
            .mask = mask};
  }
};

// What a model file defines; every function above is built from these three.
class Model {
 public:
  virtual ~Model() = default;
  // What its recurrences keep of a sequence.
  virtual std::vector<graph::SlotState> slot_states() const { return {}; }
  // Whether a row may see some of the rows before it and not others.
  virtual bool verifies_trees() const { return slot_states().empty(); }
  // ids i32[rows] -> f32[rows, hidden]
  virtual graph::Value* embed(graph::GraphBuilder& g, graph::Value* ids) const = 0;
  // x f32[rows, hidden] -> f32[rows, hidden], all layers and the final norm
  virtual graph::Value* transformer(graph::GraphBuilder& g, graph::Value* x,
                                    const StepInputs& inputs) const = 0;
  // hidden f32[n, hidden] -> f32[n, vocab]; not asked of models that give embeddings
  virtual graph::Value* logits(graph::GraphBuilder& g, graph::Value* hidden) const = 0;
  // Of a draft head, which has none of the three. hidden f32[n, hidden], a model's last hidden states ->
  // f32[n, vocab] each: of the token after the next one, of the one behind that, and so on
  virtual std::vector<graph::Value*> head_logits(graph::GraphBuilder&, graph::Value*) const { return {}; }
};

struct FunctionOptions {
  int64_t hidden = 0;
  std::vector<int64_t> rotary_dims;  // of each rope table
  int64_t window_keys = 0;           // rows of key_factors; 0 = no rolling window
  bool sampling = false;             // with `sample`
  bool trees = false;                // batch_verify has a mask; precondition: the model's rows can be trees
  bool encoder = false;              // with an encoder's functions only
  bool embeds = false;               // with those of a decoder that gives embeddings only
  bool draft_head = false;           // with that of a draft head only
};
// Appends the functions of the table to `module`.
void add_functions(graph::Module& module, const Model& model, const FunctionOptions& options);

}  // namespace mlc::frontend
