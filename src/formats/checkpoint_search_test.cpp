// Which files make up a checkpoint: by content, around what is not whole, with stale or missing indexes, in
// several parts.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "formats/build_files.h"
#include "formats/checkpoint.h"
#include "formats/weight_files.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

using testing::GgufFile;
using testing::packed;
using testing::TempFolder;
using testing::TorchFile;
using testing::unpacked;

constexpr const char* kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";

// Tensors of two floats, all of `value`.
std::string safetensors_of(const std::vector<std::string>& names, float value = 1) {
  std::string header = "{", data;
  for (const std::string& name : names) {
    header += (data.empty() ? "\"" : ",\"") + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[)" +
              std::to_string(data.size()) + "," + std::to_string(data.size() + 8) + "]}";
    data += packed<float>({value, value});
  }
  return testing::safetensors(header + "}", data);
}
std::string torch_of(const std::string& name, float value = 2) {
  return TorchFile()
      .tensor(name, "FloatStorage", "0", 2, 0, {2}, {1})
      .storage("0", packed<float>({value, value}))
      .build();
}
GgufFile llama(const std::string& name, float value = 3) {
  GgufFile f;
  f.text("general.architecture", "llama").count("llama.attention.head_count", 1);
  f.tensor(name, {2}, 0, packed<float>({value, value}));
  return f;
}
std::string split(GgufFile f, uint16_t number, uint16_t count, int32_t tensors = -1) {
  f.number<uint16_t>("split.no", 2, number).number<uint16_t>("split.count", 2, count);
  if (tensors >= 0) f.number<int32_t>("split.tensors.count", 5, tensors);
  return f.build();
}
// A part after the first has no architecture of its own.
std::string later_part(const std::string& name, float value, uint16_t number, uint16_t count) {
  GgufFile f;
  f.tensor(name, {2}, 0, packed<float>({value, value}));
  return split(f, number, count);
}

// What a folder or file opens as: "name=value ..." in order, or the problem; `notes` gets the notes.
std::string opened(const std::string& path, std::string* notes = nullptr,
                   SourceFormat format = SourceFormat::kAuto) {
  auto c = Checkpoint::open(path, format);
  if (!c.is_ok()) return c.status().message();
  std::string text;
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < (*c)->tensors().size(); ++i)
    text += (i ? " " : "") + (*c)->tensors()[i].name + "=" +
            std::to_string(static_cast<int>(unpacked<float>((*c)->read(static_cast<int>(i), buffer))[0]));
  if (notes) {
    *notes = "";
    for (const std::string& note : (*c)->notes()) *notes += note + "\n";
  }
  return text;
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(CheckpointSearch, ContentCountsNotTheName) {
  TempFolder folder;
  EXPECT_EQ(opened(folder.write("pytorch_model.bin", safetensors_of({"s"}))), "s=1");
  EXPECT_EQ(opened(folder.path()), "s=1");
  EXPECT_EQ(opened(folder.write("model.safetensors", torch_of("t"))), "t=2");
  EXPECT_EQ(opened(folder.path(), nullptr, SourceFormat::kTorch), "t=2");
  EXPECT_EQ(opened(folder.write("sha256-00aa", llama("g").build())), "g=3");
  EXPECT_EQ(opened(folder.write("x.bin", llama("g").build()), nullptr, SourceFormat::kGguf), "g=3");
  EXPECT_TRUE(has(opened(folder.write("a.gguf", "Entry not found\n")),
                  "a.gguf: a text 'Entry not found', an unknown kind"));
  EXPECT_TRUE(has(opened(folder.write("a.bin", "\x1f\x8b\x08")), "a gzip archive, an unknown kind"));
  EXPECT_TRUE(has(opened(folder.write("b.bin", "{}")), "b.bin: no tensors in 'weight_map'"));
  EXPECT_TRUE(has(opened(folder.write("c.pt", "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")),
                  "written by PyTorch before 1.6"));
}

TEST(CheckpointSearch, AFolderOfAnyNames) {
  TempFolder folder;
  folder.write("sha256-00aa", llama("g").build());
  folder.write("sha256-11bb", "You are a helpful assistant.");
  EXPECT_EQ(opened(folder.path()), "g=3");
  folder.write("my-model.safetensors", safetensors_of({"s"}));
  EXPECT_EQ(opened(folder.path(), nullptr, SourceFormat::kSafetensors), "s=1");
  TempFolder other;
  other.write("my-model.safetensors", safetensors_of({"s"}));
  other.write("adapter_model.safetensors", safetensors_of({"lora"}));
  other.write("optimizer.pt", torch_of("o"));
  other.write("training_args.bin", torch_of("a"));
  EXPECT_EQ(opened(other.path()), "s=1");
  other.write("two.safetensors", safetensors_of({"s"}));
  EXPECT_TRUE(
      has(opened(other.path()), "2 weight files (my-model.safetensors, two.safetensors); expected one"));
}

TEST(CheckpointSearch, WhatIsNotWholeGivesWay) {
  std::string sound = safetensors_of({"s"}), cut = sound.substr(0, sound.size() - 1);
  for (const std::string& broken : {std::string(kPointer), std::string("<html>"), std::string(), cut,
                                    torch_of("t").substr(0, 100), std::string("PK\3\4")}) {
    TempFolder folder;
    std::string notes, torch = folder.write("pytorch_model.bin", broken),
                       whole = folder.write("model.safetensors", sound);
    EXPECT_EQ(opened(folder.path(), &notes), "s=1");
    EXPECT_TRUE(notes.starts_with(torch + ": ") && has(notes, "; using " + whole + " instead")) << notes;
    folder.write("pytorch_model.bin", torch_of("t"));
    folder.write("model.safetensors", broken);
    EXPECT_EQ(opened(folder.path(), &notes), "t=2");
    EXPECT_EQ(notes, "") << "nothing was passed over";
    folder.write("pytorch_model.bin", broken);
    std::string problem = opened(folder.path());
    EXPECT_TRUE(problem.starts_with(torch + ": ")) << problem;
  }
}

TEST(CheckpointSearch, LinksToNothingAndPipesGiveWay) {
  TempFolder folder;
  std::filesystem::create_symlink(folder.file("gone"), folder.file("pytorch_model.bin"));
  ASSERT_EQ(::mkfifo(folder.file("model.safetensors").c_str(), 0600), 0);
  EXPECT_TRUE(has(opened(folder.path()), "pytorch_model.bin: a link to a file that does not exist"));
  std::string notes;
  folder.write("m.gguf", llama("g").build());
  EXPECT_EQ(opened(folder.path(), &notes), "g=3");
  EXPECT_TRUE(has(notes, "a link to a file that does not exist")) << notes;
  EXPECT_TRUE(has(opened(folder.file("model.safetensors")), "not a regular file"));
}

TEST(CheckpointSearch, AnIndexWhoseFilesAreNotWholeGivesWay) {
  TempFolder folder;
  std::string index = folder.write(
      "model.safetensors.index.json",
      R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  std::string notes;
  folder.write("model.safetensors", safetensors_of({"a", "b"}, 7));
  EXPECT_EQ(opened(folder.path(), &notes), "a=7 b=7");
  EXPECT_TRUE(has(notes, "model-00001-of-00002.safetensors: missing, but " + index + " lists 1 tensors"))
      << notes;
  folder.write("model-00001-of-00002.safetensors", safetensors_of({"a"}));
  folder.write("model-00002-of-00002.safetensors", kPointer);
  EXPECT_EQ(opened(folder.path(), &notes), "a=7 b=7");
  EXPECT_TRUE(has(notes, "model-00002-of-00002.safetensors: a Git LFS pointer")) << notes;
  folder.write("model-00002-of-00002.safetensors", safetensors_of({"b"}));
  EXPECT_EQ(opened(folder.path(), &notes), "a=1 b=1");
  EXPECT_EQ(notes, "");
  for (const char* broken : {kPointer, "{", "", "<!doctype html>", "{\"weight_map\":{\"a\":\"../x\"}}"}) {
    folder.write("model.safetensors.index.json", broken);
    EXPECT_EQ(opened(folder.path(), &notes), "a=7 b=7");
    EXPECT_TRUE(notes.starts_with(index)) << notes;
  }
}

TEST(CheckpointSearch, AStaleIndexIsReadAroundWithANote) {
  TempFolder folder;
  folder.write("m-1.safetensors", safetensors_of({"a", "b", "c"}, 1));
  folder.write("m-2.safetensors", safetensors_of({"d"}, 2));
  std::string index, notes;
  auto with = [&](const std::string& map) {
    index = folder.write("model.safetensors.index.json",
                         "{\"metadata\":{\"total_size\":\"wrong\"},\"weight_map\":{" + map + "}}");
    return opened(folder.path(), &notes);
  };
  EXPECT_EQ(with(R"("b":"m-1.safetensors","d":"m-2.safetensors")"), "b=1 a=1 c=1 d=2");
  EXPECT_EQ(notes,
            index + ": does not list 2 tensors of its files in their place ('a', ...); they are read too\n");
  EXPECT_EQ(
      with(R"("a":"m-2.safetensors","b":"m-1.safetensors","c":"m-1.safetensors","d":"m-2.safetensors")"),
      "d=2 b=1 c=1 a=1");
  EXPECT_TRUE(has(notes, "1 tensor of its files")) << notes;
  EXPECT_EQ(
      with(
          R"("a":"m-1.safetensors","b":"m-1.safetensors","c":"m-1.safetensors","d":"m-2.safetensors","gone":"m-2.safetensors")"),
      "a=1 b=1 c=1 d=2");
  EXPECT_EQ(notes, index + ": lists 1 tensor that its files do not hold ('gone')\n");
  EXPECT_EQ(
      with(
          R"("a":"m-1.safetensors","b":"m-1.safetensors","c":"m-1.safetensors","d":"m-2.safetensors","b":"m-3.safetensors")"),
      "a=1 c=1 b=1 d=2");
  EXPECT_TRUE(has(notes, "m-3.safetensors: missing")) << notes;
  EXPECT_TRUE(has(with(R"("a":"m-1.safetensors","e":"m-3.safetensors")"), "m-3.safetensors: missing, but "));
}

TEST(CheckpointSearch, PartsWithoutAnIndex) {
  TempFolder folder;
  std::string first = folder.write("model-00001-of-00002.safetensors", safetensors_of({"a"}, 1)),
              second = folder.file("model-00002-of-00002.safetensors");
  EXPECT_EQ(opened(folder.path()), second + ": missing, one of 2 parts of the weights; download it");
  folder.write("model-00002-of-00002.safetensors", safetensors_of({"b"}, 2));
  for (const std::string& path : {folder.path(), first, second}) EXPECT_EQ(opened(path), "a=1 b=2");
  folder.write("model-00003-of-00003.safetensors", safetensors_of({"c"}, 3));  // of another save
  EXPECT_EQ(opened(folder.path()), "a=1 b=2");
  folder.write("pytorch_model-00001-of-00001.bin", torch_of("t", 4));
  EXPECT_EQ(opened(folder.path()), "t=4");
  TempFolder other;
  other.write("my-00001-of-00002.fp16.safetensors", safetensors_of({"a"}, 1));
  other.write("my-00002-of-00002.fp16.safetensors", safetensors_of({"b"}, 2));
  EXPECT_EQ(opened(other.path()), "a=1 b=2");
}

TEST(CheckpointSearch, OfSeveralGgufFilesTheWholeOne) {
  TempFolder folder;
  std::string notes, whole = llama("g").build();
  folder.write("a.gguf", whole.substr(0, 60));
  folder.write("b.gguf", whole);
  folder.write("c.gguf", kPointer);
  GgufFile projector;
  projector.text("general.architecture", "clip");
  folder.write("mmproj.gguf", projector.build());
  EXPECT_EQ(opened(folder.path(), &notes), "g=3");
  EXPECT_TRUE(has(notes, "a.gguf: ends inside") && has(notes, "c.gguf: a Git LFS pointer") &&
              has(notes, "mmproj.gguf: general.architecture is 'clip'"))
      << notes;
  EXPECT_EQ(std::count(notes.begin(), notes.end(), '\n'), 3);
  folder.write("c.gguf", whole);
  EXPECT_TRUE(
      has(opened(folder.path()), "2 GGUF files (b.gguf, c.gguf); expected one, name the file itself"));
}

TEST(CheckpointSearch, SplitGgufByAnyPart) {
  TempFolder folder;
  std::string parts[] = {folder.write("m-00001-of-00003.gguf", split(llama("a", 1), 0, 3, 3)),
                         folder.write("m-00002-of-00003.gguf", later_part("b", 2, 1, 3)),
                         folder.write("m-00003-of-00003.gguf", later_part("c", 3, 2, 3))};
  for (const std::string& path : {folder.path(), parts[0], parts[1], parts[2]})
    EXPECT_EQ(opened(path), "a=1 b=2 c=3") << path;
  auto c = Checkpoint::open(parts[2]).value();
  EXPECT_EQ(c->files(), (std::vector<std::string>{parts[0], parts[1], parts[2]}));
  EXPECT_EQ(c->gguf()->find_text("general.architecture"), "llama");
  EXPECT_EQ(c->gguf()->tensors[2].part, 2);

  folder.write("x.gguf", llama("g").build());
  EXPECT_TRUE(has(opened(folder.path()), "2 GGUF files (m-00001-of-00003.gguf, x.gguf)"))
      << "the parts are one model";
  std::filesystem::remove(folder.file("x.gguf"));
  folder.write("m-00001-of-00003.gguf", split(llama("a", 1), 0, 3, 4));
  EXPECT_TRUE(has(opened(folder.path()), "split.tensors.count is 4, but the 3 parts hold 3 tensors"));
  folder.write("m-00001-of-00003.gguf", split(llama("b", 1), 0, 3));
  EXPECT_TRUE(has(opened(parts[0]), "m-00002-of-00003.gguf: tensor 'b' stands twice"));
  folder.write("m-00001-of-00003.gguf", split(llama("a", 1), 0, 3));
  folder.write("m-00002-of-00003.gguf", later_part("b", 2, 2, 3));
  EXPECT_TRUE(has(opened(parts[0]),
                  "m-00002-of-00003.gguf: metadata split.no is 2 of split.count 3, expected 1 of 3"));
  folder.write("m-00002-of-00003.gguf", kPointer);
  EXPECT_TRUE(has(opened(parts[0]), "m-00002-of-00003.gguf: a Git LFS pointer"));
  std::filesystem::remove(parts[1]);
  for (const std::string& path : {folder.path(), parts[0], parts[2]})
    EXPECT_TRUE(has(opened(path), "m-00002-of-00003.gguf: missing, one of the 3 parts that belong to "))
        << opened(path);
}

TEST(CheckpointSearch, SplitGgufUnderOtherNames) {
  TempFolder folder;
  std::string second = folder.write("sha256-aa", later_part("b", 2, 1, 2)),
              first = folder.write("sha256-bb", split(llama("a", 1), 0, 2, 2));
  for (const std::string& path : {folder.path(), first, second}) EXPECT_EQ(opened(path), "a=1 b=2") << path;
  folder.write("sha256-cc", later_part("b", 3, 1, 2));
  EXPECT_TRUE(has(opened(first), "part 2 may be"));
  EXPECT_TRUE(has(opened(folder.write("alone.gguf", split(llama("a"), 3, 3))),
                  "split.no is 3 of split.count 3, expected 0 to count - 1"));
}

TEST(PartNames, AreReadAndWritten) {
  auto part = parse_part_name("model-00002-of-00012.safetensors");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->number, 2);
  EXPECT_EQ(part->name_of(12), "model-00012-of-00012.safetensors");
  EXPECT_EQ(parts_of("d/a-1-of-2.bin"), (std::vector<std::string>{"d/a-1-of-2.bin", "d/a-2-of-2.bin"}));
  for (const char* name : {"model.safetensors", "a-3-of-2.bin", "a-0-of-2.bin", "a-of-2", "-of-", "a-1-of-",
                           "a-01-of-2.bin", "a1-of-2.bin", "-1-of-1000000"})
    EXPECT_FALSE(parse_part_name(name)) << name;
  EXPECT_FALSE(parse_part_name("a-99999-of-99999.bin")) << "more parts than anybody has";
}

}  // namespace
}  // namespace mlc
