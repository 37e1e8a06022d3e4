// What holds for whatever drafts: proposals change how many steps an answer takes, not what it is.
#pragma once

#include <string>
#include <vector>

#include "serve/engine_case.h"
#include "support/failing_device.h"

namespace mlc::serve {

class DraftingTest : public EngineTest {
 protected:
  struct Setup {
    int64_t length = 0, width = 1;  // 0: as many proposals as the test has for usual
    size_t max_running = 1;
    bool adapt = false, deterministic = false, plain = false;
    bool same_model = false;  // the draft model is the model
    int64_t total_tokens = 800;
    int64_t draft_room = 0;  // tokens of the draft model, rows of heads; 0: enough
  };
  // A new engine, whose drafter lies on `draft_device` or a device of its own.
  virtual void start_drafting(const Setup& setup, runtime::DevicePtr draft_device = nullptr) = 0;
  virtual void expect_drafter_returned() {}

  static runtime::ModelLimits limits_of(const Setup& setup, int64_t total) {
    return {.max_sequences = static_cast<int64_t>(setup.max_running),
            .context_tokens = std::min<int64_t>(total, 200),
            .total_tokens = total,
            .prefill_chunk = 64,
            .shuffle_pages = 3,
            .deterministic = setup.deterministic};
  }
  static int64_t max_wanted(const Setup& setup, int64_t length) {
    return static_cast<int64_t>(setup.max_running) * (1 + length * setup.width);
  }
  // `options`: the mode and who drafts.
  void start_engine(const Setup& setup, int64_t length, EngineOptions options) {
    notes.clear();
    options.max_running = setup.max_running;
    if (setup.plain) options.speculative_mode = SpeculativeMode::kDisable;
    options.spec_draft_length = length * setup.width;
    options.spec_tree_width = setup.width;
    options.adapt_draft_length = setup.adapt;
    options.note = [this](const std::string& note) { notes.push_back(note); };
    engine = std::make_unique<Engine>(*model.model, tokenizer, options);
    answers.clear();
  }
  Answer drafted(const Setup& setup, const std::vector<int32_t>& text, const GenerationConfig& config) {
    start_drafting(setup);
    must(add(1, text, config));
    run();
    return answers[1];
  }
  void expect_all_returned() {
    engine->reset();
    EXPECT_EQ(model->sequences().used().pages[0], 0) << "a page is lost";
    expect_drafter_returned();
  }

  void expect_plain_answers_where_sampled(size_t prompt_length, int64_t least_accepted) {
    GenerationConfig config;
    config.max_tokens = 60;
    int64_t accepted = 0;
    for (uint64_t seed = 1; seed <= 6; ++seed) {
      config.seed = seed;
      config.temperature = seed % 3 == 0 ? 1 : 0.3;
      config.top_p = seed % 2 ? 1 : 0.8;
      config.frequency_penalty = seed == 4 ? 0.4 : 0;
      config.top_k = seed == 5 ? 12 : 0;
      const Answer expected =
          drafted({.deterministic = true, .plain = true}, prompt(prompt_length, 2), config);
      EXPECT_EQ(engine->metrics().draft_steps, 0);
      EXPECT_EQ(drafted({.deterministic = true}, prompt(prompt_length, 2), config).tokens, expected.tokens)
          << seed;
      EXPECT_GT(engine->metrics().draft_tokens, 0);
      accepted += engine->metrics().accepted_draft_tokens;
    }
    EXPECT_GT(accepted, least_accepted);
  }

  // Answers that end at a stop token, at max_tokens and at the context, beside one another and beside
  // prompts, in memory that makes them wait for each other; ways of several tokens and without; with room for
  // all drafts and with `little_room`.
  void expect_plain_ends_in_batches(const std::function<std::vector<int32_t>(int)>& text,
                                    int64_t little_room) {
    std::map<RequestId, std::vector<int32_t>> expected;
    auto config = [&](int i) {
      GenerationConfig c = greedy(i == 2 ? -1 : 20 + 11 * i);
      if (i == 4) c.stop_token_ids = {expected[3].empty() ? -1 : expected[3].back()};
      return c;
    };
    for (int i = 0; i < 6; ++i) expected[i] = alone(text(i), config(i)).tokens;
    for (const int64_t width : {1, 3})
      for (const int64_t total : {800, 208})
        for (const int64_t room : {int64_t{0}, little_room}) {
          start_drafting({.width = width, .max_running = 3, .total_tokens = total, .draft_room = room});
          for (int i = 0; i < 6; ++i) must(add(i, text(i), config(i)));
          run();
          for (int i = 0; i < 6; ++i)
            EXPECT_EQ(answers[i].tokens, expected[i])
                << "request " << i << ", width " << width << ", " << total << " and " << room;
          EXPECT_GT(engine->metrics().accepted_draft_tokens, 0);
          EXPECT_EQ(engine->metrics().preemptions > 0, total == 208);
          expect_all_returned();
        }
  }

  void expect_grammars_keep_answers() {
    const GrammarCompiler compiler(tokenizer);
    for (const double temperature : {0.0, 1.0}) {
      GenerationConfig config;
      config.temperature = temperature;
      config.seed = 7;
      config.grammar =
          must(compiler.compile(GrammarKind::kRegex, "(([a-z]{3} ){4}=[0-9]{4};){4}", {}, "regex"));
      const Answer plain = drafted({.deterministic = true, .plain = true}, prompt(30, 1), config);
      ASSERT_EQ(plain.finish, FinishReason::kStop) << plain.error;
      const Answer answer = drafted({.deterministic = true}, prompt(30, 1), config);
      EXPECT_EQ(answer.finish, FinishReason::kStop) << answer.error;
      EXPECT_EQ(answer.tokens, plain.tokens);
      EXPECT_EQ(answer.text, plain.text);
      EXPECT_GT(engine->metrics().draft_steps, 0);
    }
  }

  // Requests that end while proposals are written, or between steps; the others do not notice. `ended`: what
  // must hold of the request that is aborted first.
  void expect_aborts_harm_no_other(size_t prompt_length, const std::function<void(const Answer&)>& ended) {
    const std::vector<int32_t> expected = alone(prompt(prompt_length, 1), greedy(40)).tokens;
    for (int polls = 1; polls < 24; polls += 2) {
      start_drafting({.max_running = 3});
      for (int i = 1; i <= 3; ++i) must(add(i, prompt(prompt_length, i), greedy(40)));
      for (int i = 0; i < polls; ++i) engine->poll_step();
      engine->abort(2);
      for (int i = 0; i < 3; ++i) engine->poll_step();
      engine->abort(3);
      run();
      EXPECT_EQ(answers[1].tokens, expected) << polls;
      ended(answers[2]);
      expect_all_returned();
    }
  }

  // Proposals that are hardly ever right are given up, but for a few now and then.
  void expect_what_does_not_pay_is_given_up(int64_t length, int64_t most_draft_steps) {
    GenerationConfig config;
    config.temperature = 2;  // nothing is likely
    config.seed = 3;
    config.max_tokens = 170;
    config.ignore_eos = true;
    drafted({.length = length, .adapt = true}, prompt(10, 1), config);
    EXPECT_GT(engine->metrics().draft_tokens, 0);
    EXPECT_LT(engine->metrics().draft_tokens, 100);
    EXPECT_LT(engine->metrics().draft_steps, most_draft_steps);
  }

  // The drafter's device fails at a submission after it was loaded, half done or not: answers go on without
  // it, and that is said once.
  struct Failure {
    int after = 0;
    bool half_done = false;
  };
  void expect_failures_are_noted(size_t max_running, const std::vector<Failure>& failures,
                                 const std::string& drafter) {
    const std::vector<int32_t> expected = alone(prompt(20, 1), greedy(40)).tokens;
    for (const Failure& failure : failures) {
      testing::FailingDevice* device = nullptr;
      start_drafting({.max_running = max_running}, testing::FailingDevice::wrap(device));
      device->fail_at = device->submissions + failure.after;
      device->half_done = failure.half_done;
      for (RequestId id : {1, 2}) must(add(id, prompt(20, 1), greedy(40)));
      run();
      EXPECT_EQ(answers[1].tokens, expected) << answers[1].error;
      EXPECT_EQ(answers[2].tokens, expected) << answers[2].error;
      ASSERT_EQ(notes.size(), 1u);
      EXPECT_EQ(notes[0], str(drafter, " proposes nothing any more: ", testing::FailingDevice::kFailure));
      expect_all_returned();
    }
  }

  std::vector<std::string> notes;
};

}  // namespace mlc::serve
