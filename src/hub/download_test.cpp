// Downloads from a hub that this test runs: resumed, redirected, cut, lied to, and offline.
#include "hub/download.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "support/hub_server.h"

namespace mlc::hub {
namespace {

using testing::HubPage;
using testing::HubServer;

std::string bytes_of(size_t size, int seed) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<char>(i * 131 + i / 251 + static_cast<size_t>(seed));
  return bytes;
}

class Download : public ::testing::Test {
 protected:
  Download() {
    options.pause_ms = 1;
    options.say = [this](const std::string& line) { said += line + "\n"; };
    hub.add_repo("user/repo", files);
  }
  Result<std::string> get(const std::string& text = "HF://user/repo") {
    auto name = parse_model_name(text, hub.url());
    if (!name.is_ok()) return name.status();
    return download_model(*name, folder, options);
  }
  std::string error(const std::string& text = "HF://user/repo") {
    auto got = get(text);
    return got.is_ok() ? "no error" : got.status().message();
  }
  std::string at(const std::string& name) const { return folder + "/" + name; }
  static std::string resolve(const std::string& name) {
    return "/user/repo/resolve/" + HubServer::commit() + "/" + name;
  }
  void expect_whole() {
    for (const auto& [name, body] : files) EXPECT_EQ(read_file(at(name)).value(), body) << name;
    for (const auto& [name, body] : files) EXPECT_FALSE(file_exists(at(name + ".part"))) << name;
  }

  const std::map<std::string, std::string> files = {{"config.json", "{\"a\": 1}"},
                                                    {"model-1.safetensors", bytes_of(300000, 1)},
                                                    {"model-2.safetensors", bytes_of(70000, 2)},
                                                    {"model-3.safetensors", bytes_of(1000, 3)},
                                                    {"tokenizer.json", "{}"}};
  HubServer hub;
  testing::TempFolder place;
  std::string folder = place.file("model"), said;
  DownloadOptions options;
};

TEST_F(Download, BringsAllAndThenNeedsNoNetwork) {
  ASSERT_EQ(get().value(), folder);
  expect_whole();
  EXPECT_NE(said.find("downloading 5 files, 371.0 KB"), std::string::npos) << said;
  const size_t asked = hub.requests().size();
  for (const char* policy : {"ON", "READONLY"}) {
    options.policy = policy;
    EXPECT_EQ(get().value(), folder);
  }
  EXPECT_EQ(hub.requests().size(), asked);
}

TEST_F(Download, ConfigAloneIsNoModel) {
  options.need = Need::kConfig;
  ASSERT_TRUE(get().is_ok());
  EXPECT_FALSE(file_exists(at("model-1.safetensors")));
  options.policy = "READONLY";
  EXPECT_TRUE(get().is_ok());
  options.need = Need::kModel;
  EXPECT_NE(error().find("READONLY"), std::string::npos);
  options.policy = "ON";
  ASSERT_TRUE(get().is_ok());
  expect_whole();
  EXPECT_EQ(hub.count(resolve("config.json")), 1);  // known by its digest
}

TEST_F(Download, PoliciesAreObeyed) {
  options.policy = "OFF";
  EXPECT_NE(error().find("HF://user/repo: MLC_DOWNLOAD_CACHE_POLICY is OFF"), std::string::npos);
  options.policy = "REDOO";
  EXPECT_NE(error().find("did you mean 'REDO'?"), std::string::npos);
  EXPECT_TRUE(hub.requests().empty());
  options.policy = "ON";
  ASSERT_TRUE(get().is_ok());
  place.write("model/config.json", "{\"b\": 2}");  // the same size, other content
  EXPECT_TRUE(get().is_ok());
  EXPECT_EQ(read_file(at("config.json")).value(), "{\"b\": 2}");
  options.policy = "REDO";
  EXPECT_TRUE(get().is_ok());
  expect_whole();
  EXPECT_EQ(hub.count(resolve("model-1")), 1);
}

TEST_F(Download, GoesOnWhereAConnectionWasCut) {
  hub.set(resolve("model-1.safetensors"),
          {.body = files.at("model-1.safetensors"), .headers = {}, .cut_after = 100000, .cuts = 2});
  ASSERT_TRUE(get().is_ok());
  expect_whole();
  EXPECT_EQ(hub.count("Range: bytes=100000-"), 1);
  EXPECT_EQ(hub.count("Range: bytes=200000-"), 1);
}

TEST_F(Download, GoesOnWithThePartOfAnEarlierRun) {
  place.write("x", "");
  ASSERT_TRUE(make_directories(folder).is_ok());
  place.write("model/model-2.safetensors.part", files.at("model-2.safetensors").substr(0, 12345));
  ASSERT_TRUE(get().is_ok());
  expect_whole();
  EXPECT_EQ(hub.count("Range: bytes=12345-"), 1);
}

TEST_F(Download, StartsAgainWhereAPartIsOfAnotherFile) {
  ASSERT_TRUE(make_directories(folder).is_ok());
  place.write("model/model-1.safetensors.part", std::string(5000, 'x'));    // its digest will not fit
  place.write("model/model-2.safetensors.part", std::string(900000, 'x'));  // larger than the file
  place.write("model/model-3.safetensors.part", std::string(1000, 'x'));    // as large
  ASSERT_TRUE(get().is_ok());
  expect_whole();
}

TEST_F(Download, TakesAllWhereTheHubKnowsNoRanges) {
  ASSERT_TRUE(make_directories(folder).is_ok());
  place.write("model/model-2.safetensors.part", files.at("model-2.safetensors").substr(0, 100));
  hub.set(resolve("model-2.safetensors"),
          {.body = files.at("model-2.safetensors"), .headers = {}, .takes_ranges = false});
  ASSERT_TRUE(get().is_ok());
  expect_whole();
}

TEST_F(Download, AWrongDigestIsNoModel) {
  hub.add_repo("user/repo", files, {{"model-3.safetensors", std::string(64, 'a')}});
  EXPECT_NE(error().find("HF://user/repo: model-3.safetensors: its digest is "), std::string::npos)
      << error();
  EXPECT_FALSE(file_exists(at("model-3.safetensors")));
  EXPECT_FALSE(file_exists(at("model-3.safetensors.part")));
  EXPECT_FALSE(file_exists(at(".mlc-download.json")));
}

TEST_F(Download, MoreThanStatedAndLessThanStatedAreErrors) {
  hub.set(resolve("model-3.safetensors"), {.body = std::string(2000, 'x'), .headers = {}});
  EXPECT_NE(error().find("more than the 1000 bytes"), std::string::npos) << error();
  hub.set(resolve("model-3.safetensors"),
          {.body = files.at("model-3.safetensors").substr(0, 10), .headers = {}});
  options.most_failures = 2;
  EXPECT_NE(error().find("model-3.safetensors"), std::string::npos) << error();
  EXPECT_FALSE(file_exists(at("model-3.safetensors")));
}

TEST_F(Download, TheTokenIsShownToTheHubAlone) {
  HubServer elsewhere;
  options.token = "secret";
  const std::string& body = files.at("model-1.safetensors");
  elsewhere.set("/blob?x=1", {.body = body, .headers = {}, .cut_after = 1000, .cuts = 1});
  hub.set(resolve("model-1.safetensors"),
          {.body = "", .headers = "Location: " + elsewhere.url() + "/blob?x=1\r\n", .status = 302});
  ASSERT_TRUE(get().is_ok()) << error();
  expect_whole();
  EXPECT_EQ(hub.count("Authorization: Bearer secret"), static_cast<int>(hub.requests().size()));
  EXPECT_EQ(elsewhere.count("GET /blob?x=1"), 2);
  EXPECT_EQ(elsewhere.count("Range: bytes=1000-"), 1);
  EXPECT_EQ(elsewhere.count("secret"), 0);
  // A hub that is not the one of HF_ENDPOINT.
  elsewhere.add_repo("user/repo", {{"config.json", "{}"}, {"model.safetensors", "abc"}});
  folder = place.file("other");
  ASSERT_TRUE(get(elsewhere.url() + "/user/repo").is_ok());
  EXPECT_EQ(elsewhere.count("secret"), 0);
}

TEST_F(Download, RedirectsEndAndStayOnHttp) {
  hub.set(resolve("model-1.safetensors"),
          {.body = "", .headers = "Location: " + resolve("model-1.safetensors") + "\r\n", .status = 307});
  EXPECT_NE(error().find("more than ten redirects"), std::string::npos) << error();
  hub.set(resolve("model-1.safetensors"),
          {.body = "", .headers = "Location: file:///etc/passwd\r\n", .status = 307});
  EXPECT_NE(error().find("is not followed"), std::string::npos) << error();
}

TEST_F(Download, LearnsFromHeadersWhatAListDoesNotSay) {
  hub.set("/api/models/user/repo/revision/main?blobs=true",
          {.body = R"({"siblings":[{"rfilename":"config.json"},{"rfilename":"model.safetensors"}]})",
           .headers = {}});
  const std::string digest = file_digest(place.write("b", "abc"), std::string(64, '0')).value();
  hub.set("/user/repo/resolve/main/config.json", {.body = "{}", .headers = {}});
  hub.set("/user/repo/resolve/main/model.safetensors",
          {.body = "abc", .headers = "X-Linked-Etag: \"" + digest + "\"\r\nX-Linked-Size: 3\r\n"});
  ASSERT_TRUE(get().is_ok()) << error();
  EXPECT_NE(said.find("config.json: the hub states no digest"), std::string::npos);
  EXPECT_EQ(said.find("model.safetensors: the hub states no digest"), std::string::npos);
  hub.set("/user/repo/resolve/main/model.safetensors",
          {.body = "abd", .headers = "X-Linked-Etag: \"" + digest + "\"\r\nX-Linked-Size: 3\r\n"});
  options.policy = "REDO";
  place.write("model/model.safetensors", "zzz");
  EXPECT_NE(error().find("its digest is"), std::string::npos) << error();
}

TEST_F(Download, LinksDoNotLeadOutside) {
  const std::string outside = place.write("outside", "mine");
  ASSERT_TRUE(make_directories(folder).is_ok());
  ASSERT_EQ(::symlink(outside.c_str(), at("model-1.safetensors").c_str()), 0);
  ASSERT_EQ(::symlink(outside.c_str(), at("model-2.safetensors.part").c_str()), 0);
  ASSERT_EQ(::link(outside.c_str(), at("model-3.safetensors.part").c_str()), 0);
  ASSERT_TRUE(get().is_ok()) << error();
  expect_whole();
  EXPECT_EQ(read_file(outside).value(), "mine");
}

TEST_F(Download, EvilNamesAreRefusedWhole) {
  for (const char* name : {"../evil.json", "/tmp/evil.json"}) {
    hub.add_repo("user/repo", {{"config.json", "{}"}, {name, "x"}});
    EXPECT_NE(error().find("could leave the model's folder"), std::string::npos);
  }
  EXPECT_FALSE(is_directory(folder));
}

TEST_F(Download, RefusalsSayWhatToDo) {
  const std::string list = "/api/models/user/repo/revision/main?blobs=true";
  hub.set(list, {.body = "", .headers = {}, .status = 401});
  EXPECT_NE(error().find("set HF_TOKEN"), std::string::npos) << error();
  options.token = "secret";
  EXPECT_NE(error().find("the token in HF_TOKEN may not read this model"), std::string::npos) << error();
  hub.set(list, {.body = "", .headers = {}, .status = 404});
  EXPECT_NE(error().find("no such model (404)"), std::string::npos) << error();
  hub.set(list, {.body = "", .headers = "X-Error-Code: RevisionNotFound\r\n", .status = 404});
  EXPECT_NE(error().find("no revision main"), std::string::npos) << error();
  hub.set(list, {.body = "<html>", .headers = {}});
  EXPECT_NE(error().find("the hub's list of files"), std::string::npos) << error();
  hub.add_repo("user/repo", files);
  options.most_failures = 1;
  hub.set(resolve("model-3.safetensors"), {.body = "", .headers = {}, .status = 503});
  EXPECT_NE(error().find("answers 503; try again later"), std::string::npos) << error();
  EXPECT_FALSE(file_exists(at(".mlc-download.json")));
}

TEST_F(Download, NoNetworkIsOneSentence) {
  std::string nowhere;
  {
    HubServer gone;
    nowhere = gone.url();
  }
  auto name = parse_model_name("HF://user/repo", nowhere);
  auto got = download_model(*name, folder, options);
  EXPECT_TRUE(got.status().message().starts_with("HF://user/repo: cannot reach " + nowhere))
      << got.status().message();
  EXPECT_NE(got.status().message().find("HF_ENDPOINT"), std::string::npos);
  EXPECT_FALSE(is_directory(folder));
}

TEST_F(Download, OneFileThatIsNamed) {
  hub.add_repo("user/repo", {{"a.gguf", "aa"}, {"sub/b.gguf", "bbb"}});
  EXPECT_EQ(get("HF://user/repo/sub/b.gguf").value(), at("b.gguf"));
  EXPECT_EQ(get("HF://user/repo/a.gguf").value(), at("a.gguf"));
  EXPECT_EQ(read_file(at("b.gguf")).value(), "bbb");
  const size_t asked = hub.requests().size();
  EXPECT_EQ(get("HF://user/repo/sub/b.gguf").value(), at("b.gguf"));
  EXPECT_EQ(hub.requests().size(), asked);
}

}  // namespace
}  // namespace mlc::hub
