// The C border of the Rust text library (rust/text): tokenizers, Jinja templates and grammars. Used only
// inside src/chat.
//
// Every call returns false or null on failure and then stores one UTF-8 sentence in `error`. Bytes that come
// out belong to the caller and go back through mlc_text_free exactly once. Inputs are borrowed for the call.
// Handles are immutable once mlc_tokenizer_add is done: any thread may use one at any time until it is freed.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct MlcTextBytes {
  uint8_t* data;
  size_t size;
};
void mlc_text_free(MlcTextBytes bytes);

struct MlcTokenizer;
// `json`: a Hugging Face tokenizer.json. Truncation and padding in it are ignored.
MlcTokenizer* mlc_tokenizer_new(const uint8_t* json, size_t size, MlcTextBytes* error);
void mlc_tokenizer_free(MlcTokenizer* tokenizer);
// Adds the tokens of a JSON list of {content, special, lstrip, rstrip, single_word, normalized}, in its
// order: text that is a token already keeps its id and takes these flags, other text gets the next id. Before
// the handle is shared only.
bool mlc_tokenizer_add(MlcTokenizer* tokenizer, const uint8_t* tokens, size_t size, MlcTextBytes* error);
// The added tokens in id order: a JSON list as in tokenizer.json.
bool mlc_tokenizer_added(const MlcTokenizer* tokenizer, MlcTextBytes* added, MlcTextBytes* error);
// `ids`: 4 bytes each, native order; `special`: with what the tokenizer puts in front and behind, else
// nothing. Invalid UTF-8 is read as U+FFFD.
bool mlc_tokenizer_encode(const MlcTokenizer* tokenizer, const uint8_t* text, size_t size, bool special,
                          MlcTextBytes* ids, MlcTextBytes* error);
bool mlc_tokenizer_decode(const MlcTokenizer* tokenizer, const uint32_t* ids, size_t count, bool skip_special,
                          MlcTextBytes* text, MlcTextBytes* error);
// Every token in id order: id (4 bytes), kind (1 byte: 0 ordinary, 1 added, 2 special), length (4 bytes),
// UTF-8 text.
bool mlc_tokenizer_tokens(const MlcTokenizer* tokenizer, MlcTextBytes* table, MlcTextBytes* error);

struct MlcTemplate;
// Parses a Jinja chat template; a syntax error names its line.
MlcTemplate* mlc_template_new(const uint8_t* source, size_t size, MlcTextBytes* error);
void mlc_template_free(MlcTemplate* jinja);
// `context`: a JSON object of variables. `clock`: the local time that strftime_now prints, as year,
// month 1..12, day, hour, minute, second, day of the year 1..366. Steps, recursion and output are bounded.
bool mlc_template_render(const MlcTemplate* jinja, const uint8_t* context, size_t size, const int32_t* clock,
                         MlcTextBytes* text, MlcTextBytes* error);

struct MlcVocabulary;
// Writes the ids of a text, at most `room`, and returns how many there are. Any thread; must not throw.
using MlcEncode = size_t (*)(const void* context, const uint8_t* text, size_t size, uint32_t* ids,
                             size_t room);
// A vocabulary in the form that masks are made from (takes some 0.3 s for 49,152 tokens). `table`: of each id
// in order its kind (1 byte, as above), the length of its bytes (4 bytes), its bytes. `context` must outlive
// the handle and all matchers.
MlcVocabulary* mlc_vocabulary_new(const uint8_t* table, size_t size, const void* context, MlcEncode encode,
                                  MlcTextBytes* error);
void mlc_vocabulary_free(MlcVocabulary* vocabulary);

// Bounds on what a grammar may cost; work is counted, not timed.
struct MlcGrammarLimits {
  uint64_t symbols, states, compile_work, mask_work, depth;
};
struct MlcMatcher;  // used by one thread at a time
// `kind`: 0 a JSON schema, 1 a regular expression, 2 a Lark grammar of llguidance.
MlcMatcher* mlc_matcher_new(const MlcVocabulary* vocabulary, uint8_t kind, const uint8_t* text, size_t size,
                            const MlcGrammarLimits* limits, MlcTextBytes* error);
MlcMatcher* mlc_matcher_fork(const MlcMatcher* matcher, MlcTextBytes* error);
void mlc_matcher_free(MlcMatcher* matcher);
// A bit for each id, the lowest of each word first, and behind the last id one that says that the text may
// end: (ids + 1 + 31) / 32 words.
bool mlc_matcher_mask(MlcMatcher* matcher, uint32_t* mask, size_t words, MlcTextBytes* error);
bool mlc_matcher_accept(MlcMatcher* matcher, const uint32_t* ids, size_t count, MlcTextBytes* error);
// `valid`: how many of the ids, the first ones, may come next in this order.
bool mlc_matcher_valid(MlcMatcher* matcher, const uint32_t* ids, size_t count, size_t* valid,
                       MlcTextBytes* error);
// `ids`: those that must come next.
bool mlc_matcher_forced(MlcMatcher* matcher, MlcTextBytes* ids, MlcTextBytes* error);
// Whether the text is complete and nothing can be added.
bool mlc_matcher_stopped(const MlcMatcher* matcher);

}  // extern "C"
