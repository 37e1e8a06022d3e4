// Conversation presets against the interface contract, prompt rules, and the JSON form.
#include "chat/template/conversation.h"

#include <gtest/gtest.h>

#include <array>

#include "base/strings.h"

namespace mlc {
namespace {

// SHA-256 (FIPS 180-4) of a short text, in hexadecimal.
std::string sha256(std::string text) {
  constexpr std::array<uint32_t, 64> k = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  std::array<uint32_t, 8> h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint64_t bits = text.size() * 8;
  text += '\x80';
  while (text.size() % 64 != 56) text += '\0';
  for (int i = 7; i >= 0; --i) text += static_cast<char>(bits >> (8 * i));
  auto turn = [](uint32_t x, int n) { return x >> n | x << (32 - n); };
  for (size_t block = 0; block < text.size(); block += 64) {
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | static_cast<uint8_t>(text[block + i]);
    for (size_t i = 16; i < 64; ++i)
      w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
             (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    auto v = h;
    for (size_t i = 0; i < 64; ++i) {
      uint32_t t1 = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) +
                    ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
      uint32_t t2 =
          (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      v = {t1 + t2, v[0], v[1], v[2], v[3] + t1, v[4], v[5], v[6]};
    }
    for (size_t i = 0; i < 8; ++i) h[i] += v[i];
  }
  std::string out;
  for (uint32_t word : h)
    for (int i = 28; i >= 0; i -= 4) out += "0123456789abcdef"[word >> i & 15];
  return out;
}

std::string text_of(const Conversation& conversation, const Json& messages,
                    const std::string& functions = "") {
  Result<std::vector<PromptPiece>> prompt = conversation.render(messages, functions, true, "test");
  if (!prompt.is_ok()) return prompt.status().message();
  std::string out;
  for (const PromptPiece& piece : *prompt) {
    for (int32_t id : piece.ids) out += str("[", id, "]");
    out += piece.text;
  }
  return out;
}
Json user(const std::string& text) { return {{"role", "user"}, {"content", text}}; }
Json assistant(const std::string& text) { return {{"role", "assistant"}, {"content", text}}; }

TEST(Presets, DefaultSystemMessagesAreTheContractsToTheByte) {
  struct Expected {
    const char* name;
    size_t characters;
    const char* digest;
  };
  EXPECT_EQ(sha256("abc").substr(0, 16), "ba7816bf8f01cfea");
  for (const Expected& e : std::initializer_list<Expected>{{"aya-23", 122, "f5c13929f97c"},
                                                           {"chatml", 108, "2bc9733b9782"},
                                                           {"deepseek_r1_llama", 169, "c0f0436021b6"},
                                                           {"deepseek_r1_qwen", 169, "c0f0436021b6"},
                                                           {"deepseek_v3", 169, "ed9349926f79"},
                                                           {"dolly", 105, "1678ff0c9fe5"},
                                                           {"gorilla", 159, "4229c5f42825"},
                                                           {"gorilla-openfunctions-v2", 289, "645393944c5d"},
                                                           {"hermes2_pro_llama3", 261, "1691af48af21"},
                                                           {"hermes3_llama-3_1", 259, "9d5ca0371051"},
                                                           {"ministral3", 2406, "331b249682cd"},
                                                           {"ministral3_reasoning", 565, "aba1efaff0bd"},
                                                           {"mistral_default", 193, "98aaa7df4de6"},
                                                           {"open_hermes_mistral", 261, "1691af48af21"},
                                                           {"phi-3", 103, "dacce61eb9b0"},
                                                           {"phi-4", 103, "dacce61eb9b0"},
                                                           {"rwkv_world", 146, "0f0ba47a82d1"},
                                                           {"stablelm", 460, "a319ec3a6fbe"},
                                                           {"wizard_coder_or_math", 105, "1678ff0c9fe5"}}) {
    std::string message = find_preset(e.name).value().system_message;
    size_t characters = 0;
    for (char c : message) characters += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    EXPECT_EQ(characters, e.characters) << e.name;
    EXPECT_EQ(sha256(message).substr(0, 12), e.digest) << e.name;
  }
}

TEST(Presets, AllAreThereAndKeepTheirJson) {
  EXPECT_EQ(preset_names().size(), 53u);
  for (const std::string& name : preset_names()) {
    Conversation conversation = find_preset(name).value();
    Json json = conversation.to_json();
    EXPECT_EQ(json["name"].get<std::string>(), name);
    EXPECT_EQ(Conversation::from_json(json, name).value().to_json().dump(), json.dump()) << name;
    EXPECT_FALSE(text_of(conversation, Json::array({user("Hi")})).empty()) << name;
  }
  for (const char* name :
       {"vicuna_v1.1", "conv_one_shot", "rwkv", "gorilla_v0", "moss", "code_gpt", "guanaco_v0", "minigpt",
        "llama_default", "stablecode_instruct", "rwkv-world", "guanaco", "qwen"})
    EXPECT_TRUE(find_preset(name).is_ok()) << name;
  EXPECT_NE(find_preset("chatm1").status().message().find("did you mean 'chatml'"), std::string::npos);
}

TEST(Presets, KeyOrderIsTheOriginals) {
  std::vector<std::string> keys;
  Json json = find_preset("llama-2").value().to_json();
  for (const auto& item : json.items()) keys.push_back(item.key());
  EXPECT_EQ(keys, (std::vector<std::string>{
                      "name", "system_template", "system_message", "system_prefix_token_ids",
                      "add_role_after_system_message", "roles", "role_templates", "messages", "seps",
                      "role_content_sep", "role_empty_sep", "stop_str", "stop_token_ids",
                      "strip_reasoning_in_history", "function_string", "use_function_calling"}));
  EXPECT_TRUE(find_preset("chatml").value().to_json()["system_prefix_token_ids"].is_null());
}

TEST(Prompts, CheckValuesOfTheContract) {
  const std::string honest = "You are a helpful, respectful and honest assistant.";
  EXPECT_EQ(text_of(find_preset("llama-2").value(), Json::array({user("Hi")})),
            "[1][INST] <<SYS>>\n" + honest + "\n<</SYS>>\n\nHi [/INST] ");
  EXPECT_EQ(text_of(find_preset("llama-2").value(), {user("Hi"), assistant("Yo"), user("Go")}),
            "[1][INST] <<SYS>>\n" + honest + "\n<</SYS>>\n\nHi [/INST] Yo </s><s>[INST] Go [/INST] ");
  EXPECT_EQ(
      text_of(find_preset("mistral_default").value(), {{{"role", "system"}, {"content", "S"}}, user("Hi")}),
      "[1][INST] SHi [/INST]");
  EXPECT_EQ(
      text_of(find_preset("llama-3").value(), Json::array({user("Hi")})),
      "[128000]<|start_header_id|>system<|end_header_id|>\n\n" + honest +
          "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant"
          "<|end_header_id|>\n\n");
  EXPECT_EQ(text_of(find_preset("redpajama_chat").value(), {user("Hi"), assistant("Yo"), user("Go")}),
            "<human>: Hi\n<bot>: Yo\n<human>: Go\n<bot>:");
}

TEST(Prompts, The2023EraPutsItsSeparatorAfterTheSystemText) {
  Conversation vicuna = find_preset_2023("vicuna_v1.1", 7).value();
  std::string prompt = text_of(vicuna, {user("Hi"), assistant("Yo"), user("Go")});
  EXPECT_EQ(prompt.substr(0, 4), "[7]A");
  EXPECT_NE(prompt.find("user's questions. USER: Hi ASSISTANT: Yo</s>USER: Go ASSISTANT:"), std::string::npos)
      << prompt;
  Conversation rwkv = find_preset_2023("rwkv", 0).value();
  EXPECT_EQ(rwkv.messages.size(), 8u);
  EXPECT_EQ(text_of(rwkv, Json::array({user("Hi")})).find("\nThe following is a coherent"), 0u);
  EXPECT_EQ(find_preset_2023("LM", 1).value().stop_token_ids, (std::vector<int32_t>{2}));
}

TEST(Prompts, SystemPartsReasoningAndFunctions) {
  Conversation qwen = find_preset("qwen3").value();
  EXPECT_EQ(
      text_of(qwen, {{{"role", "system"}, {"content", "A"}},
                     {{"role", "system"}, {"content", "B"}},
                     {{"role", "user"},
                      {"content", {{{"type", "text"}, {"text", "x"}}, {{"type", "text"}, {"text", "y"}}}}}}),
      "<|im_start|>system\nAB<|im_end|>\n<|im_start|>user\nxy<|im_end|>\n<|im_start|>assistant\n");
  std::string history = text_of(
      qwen, {user("a"), assistant("<think>t</think>\n\nb"), user("c"), assistant("<think>u</think>d")});
  EXPECT_NE(history.find("assistant\nb<|im_end|>"), std::string::npos) << history;
  EXPECT_NE(history.find("assistant\n<think>u</think>d<|im_end|>"), std::string::npos) << history;
  Conversation gorilla = find_preset("gorilla").value();
  std::string called = text_of(gorilla, {user("one"), assistant("two"), user("three")}, "[F]");
  EXPECT_NE(called.find("<<question>> one <<function>> \n"), std::string::npos) << called;
  EXPECT_NE(called.find("<<question>> three <<function>> [F]\n"), std::string::npos) << called;
}

TEST(Prompts, BadInputGetsASentence) {
  Conversation c = find_preset("chatml").value();
  EXPECT_EQ(text_of(c, {{{"role", "robot"}, {"content", "x"}}}),
            "test: role 'robot' found, expected one of system, user, assistant");
  EXPECT_EQ(text_of(c, {{{"role", "user"}, {"content", {{{"type", "image_url"}}}}}}),
            "test: a content part of type 'image_url' found, but this model takes text only");
  EXPECT_EQ(text_of(c, {{{"role", "user"}, {"content", 5}}}),
            "test: a message's content is number, expected a string, null or a list of parts");
  EXPECT_EQ(Conversation::from_json({{"seps", {"a", "b", "c"}}}, "m").status().message(),
            "m: conv_template has 3 seps, expected 1 or 2");
  EXPECT_FALSE(Conversation::from_json({{"seps", {1}}}, "m").is_ok());
  EXPECT_FALSE(Conversation::from_json("llama-2", "m").is_ok());
  EXPECT_FALSE(Conversation::from_json({{"seps", {""}}, {"roles", {{"user", 1}}}}, "m").is_ok());
}

TEST(Conversation, TemplateVariablesComeBack) {
  Conversation c;
  c.seps = {"\n"};
  c.jinja_template = "{{ pad_token }}";
  c.template_variables = {
      {"bos_token", "<s>"}, {"pad_token", "<p>"}, {"additional_special_tokens", {"<a>", "<b>"}}};
  Json json = c.to_json();
  EXPECT_EQ(json["bos_token"], "<s>");
  EXPECT_EQ(json["eos_token"], "");
  EXPECT_EQ(json["special_tokens"],
            (Json{{"pad_token", "<p>"}, {"additional_special_tokens", {"<a>", "<b>"}}}));
  EXPECT_EQ(Conversation::from_json(json, "c")->template_variables, c.template_variables);
  json["special_tokens"]["pad_token"] = 1;
  EXPECT_EQ(Conversation::from_json(json, "c").status().message(),
            "c: key 'special_tokens' has number for 'pad_token', expected a string or a list of strings");
  json["special_tokens"]["pad_token"] = {1};
  EXPECT_FALSE(Conversation::from_json(json, "c").is_ok());
}

}  // namespace
}  // namespace mlc
