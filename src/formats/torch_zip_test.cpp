// PyTorch .bin: tensors and views out of a zip, and every zip or pickle that must not be trusted.
#include "formats/torch_zip.h"

#include <gtest/gtest.h>

#include "formats/build_files.h"
#include "formats/torch_pickle.h"

namespace mlc {
namespace {

using testing::bytes_of;
using testing::TorchFile;

std::string problem(const std::string& file) {
  auto result = parse_torch_zip(bytes_of(file), "m.bin");
  return result.is_ok() ? "" : result.status().message();
}

std::string pickle_problem(std::string_view after_protocol) {
  std::string pickle = "\x80\x02" + std::string(after_protocol);
  auto result = parse_torch_pickle(bytes_of(pickle), "m.bin");
  return result.is_ok() ? "" : result.status().message();
}

TEST(TorchZip, ReadsTensorsAndViews) {
  TorchFile f;
  f.tensor("b", "FloatStorage", "0", 6, 0, {2, 3}, {3, 1});
  f.tensor("a", "FloatStorage", "0", 6, 0, {3, 2}, {1, 3});  // its transpose
  f.tensor("tail", "FloatStorage", "0", 6, 4, {2}, {1});
  f.tensor("row", "HalfStorage", "1", 4, 0, {1, 4},
           {77, 1});  // the stride of a dimension of 1 does not count
  f.tensor("none", "LongStorage", "2", 0, 0, {0, 5}, {5, 1});
  f.storage("0", std::string(24, 'x')).storage("1", std::string(8, 'y')).storage("2", "");
  std::string file = f.build();
  auto tensors = parse_torch_zip(bytes_of(file), "m.bin");
  ASSERT_TRUE(tensors.is_ok()) << tensors.status().message();
  ASSERT_EQ(tensors->size(), 5u);
  const auto& t = *tensors;
  EXPECT_EQ(t[0].name, "b");
  EXPECT_EQ(t[0].dtype, DType::kF32);
  EXPECT_TRUE(t[0].strides.empty());
  EXPECT_EQ(file.substr(t[0].offset, t[0].size), std::string(24, 'x'));
  EXPECT_EQ(t[1].name, "a");
  EXPECT_EQ(t[1].strides, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(t[1].size, 24u);
  EXPECT_EQ(t[2].offset, t[0].offset + 16);
  EXPECT_EQ(t[2].size, 8u);
  EXPECT_TRUE(t[3].strides.empty());
  EXPECT_EQ(t[4].size, 0u);
}

// The bytes torch.save wrote for a rwkv5 checkpoint: memo, short tuples, shared globals.
TEST(TorchZip, ReadsWhatPyTorchWrites) {
  constexpr char kPickle[] =
      "\x80\x02}q\x00(X\x01\x00\x00\x00wq\x01"
      "ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storageq\x03"
      "ctorch\nBFloat16Storage\nq\x04X\x01\x00\x00\x00"
      "0q\x05X\x03\x00\x00\x00"
      "cpuq\x06M\x00\x96tq\x07QK\x00M,\x01K\x80\x86q\x08"
      "K\x80K\x01\x86q\x09\x89"
      "ccollections\nOrderedDict\nq\x0a)Rq\x0btq\x0cRq\x0du.";
  std::string pickle(kPickle, sizeof(kPickle) - 1);
  auto tensors = parse_torch_pickle(bytes_of(pickle), "m.bin");
  ASSERT_TRUE(tensors.is_ok()) << tensors.status().message();
  ASSERT_EQ(tensors->size(), 1u);
  EXPECT_EQ(tensors->at(0).name, "w");
  EXPECT_EQ(tensors->at(0).storage_key, "0");
  EXPECT_EQ(tensors->at(0).storage_elements, 38400u);
  EXPECT_EQ(tensors->at(0).dtype, DType::kBF16);
  EXPECT_EQ(tensors->at(0).shape, (std::vector<int64_t>{300, 128}));
  EXPECT_EQ(tensors->at(0).strides, (std::vector<int64_t>{128, 1}));
}

TEST(TorchZip, NothingIsEverRun) {
  std::string message = pickle_problem("cos\nsystem\nX\x02\x00\x00\x00ls\x85R.");
  EXPECT_NE(message.find("asks for 'os'.'system'"), std::string::npos) << message;
  EXPECT_NE(pickle_problem("cbuiltins\neval\n.").find("nothing is ever run"), std::string::npos);
  EXPECT_NE(pickle_problem("\x8c\x05posix\x8c\x06system\x93.").find("asks for 'posix'.'system'"),
            std::string::npos);
  EXPECT_NE(pickle_problem("cos.path\njoin\n.").find("asks for 'os.path'.'join'"), std::string::npos);
  for (std::string_view op : {"i", "o", "P", "\x82", "2", "I", "V"})
    EXPECT_NE(pickle_problem(op).find("opcode 0x"), std::string::npos) << op;
}

TEST(TorchZip, PickleMachineRefusesNonsense) {
  struct Case {
    std::string pickle, expected;
  };
  using namespace std::string_literals;
  for (const Case& c : {
           Case{"", "ends in the middle"},
           Case{".", "holds nothing"},
           Case{"K\x01.", "holds a number"},
           Case{"}.", "holds no tensors"},
           Case{"t.", "tuple without a mark"},
           Case{"\x85.", "more values than there are"},
           Case{"N(\x85.", "more values than there are"},
           Case{"u.", "items without a mark"},
           Case{"(u.", "items without a dictionary"},
           Case{"}s.", "items without a dictionary"},
           Case{"](NNu.", "items without a dictionary"},
           Case{"}(Nu.", "items without a dictionary"},
           Case{"q\x01", "memo of nothing"},
           Case{"h\x01", "never set"},
           Case{"Nr\xff\xff\xff\x7f", "memo 2147483647"},
           Case{"NR", "call of something"},
           Case{"ctorch\nFloatStorage\n)R", "call of FloatStorage"},
           Case{"Nb", "state set on something else"},
           Case{"NNb", "state set on something else"},
           Case{"NQ", "persistent id that is no tuple"},
           Case{")Q", "persistent id other than"},
           Case{"\x8a\x09"
                "12345678",
                "ends in the middle"},
           Case{"0", "dropping more values"},
           Case{"1", "dropping values without a mark"},
           Case{"N\x81", "call of something"},
           Case{"NNN\x92", "call of something"},
           Case{"(\x90", "items without a list"},
           Case{"B\xff\xff\xff\x7f", "ends in the middle"},
           Case{"cargparse\nNamespace\n)\x81.", "holds an object 'Namespace'"},
           Case{"X\xff\xff\xff\xff"
                "a",
                "ends in the middle"},
           Case{"}NK\x01s.", "holds no tensors"},
           Case{"}X\x01\x00\x00\x00"
                "a}s."s,
                "holds no tensors; expected"},
           Case{"ctorch._utils\n_rebuild_tensor_v2\n)R", "tensor not made of"},
       }) {
    std::string message = pickle_problem(c.pickle);
    EXPECT_NE(message.find(c.expected), std::string::npos)
        << ::testing::PrintToString(c.pickle) << ": " << message;
  }
}

// The pickle of torch.save({"w": tensor, "epoch": 3, "lr": 0.1, "none": None, "name": "x", "opt": {"state":
// {0: [tensor]}}, "args": Namespace(a=1), "np": numpy scalar, "set": {1}, "big": 2**100, "bytes": b"ab", 7:
// tensor}), put together by hand.
TEST(TorchZip, WhatIsNoTensorDoesNotStop) {
  auto text = [](std::string_view value) {
    return testing::Bytes().raw("X").put<uint32_t>(static_cast<uint32_t>(value.size())).raw(value).data;
  };
  TorchFile f;
  auto entry = [&](std::string_view name, std::string_view pickled) {
    f.pickle.raw(text(name)).raw(pickled);
  };
  f.tensor("w", "FloatStorage", "0", 2, 0, {2}, {1});
  entry("epoch", "K\x03"), entry("lr", "G\x3f\xb9\x99\x99\x99\x99\x99\x9a"), entry("none", "N"),
      entry("name", text("x"));
  entry("opt", std::string("}(") + text("state") +
                   "}K\x01](K\x01K\x02"
                   "esu");
  entry("args", std::string("cargparse\nNamespace\n)\x81}(") + text("a") +
                    "K\x01"
                    "ub");
  entry("np", std::string("cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n") + text("f8") +
                  "\x89\x88\x87R(K\x03" + text("<") +
                  "NtbC\x08"
                  "12345678\x86R");
  entry("set", "\x8f(K\x01\x90"), entry("frozen", "(K\x01\x91"),
      entry("big", std::string("\x8a\x0d") + std::string(13, '\1')),
      entry("bytes",
            "C\x02"
            "ab");
  entry("default",
        std::string("ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R") + text("k") + "K\x01s");
  entry("popped",
        "K\x01K\x02"
        "0(K\x03"
        "1");
  entry("kw", "cm\nC\n)}\x92");
  f.pickle.raw("K\x07N");  // a key that is a number
  f.tensor("q", "QInt8Storage", "1", 2, 0, {2}, {1})
      .tensor("mask", "FloatStorage", "0", 2, 0, {1000, 2}, {0, 1});
  f.storage("0", std::string(8, 'x')).storage("1", "xx");
  auto tensors = parse_torch_zip(bytes_of(f.build()), "m.bin");
  ASSERT_TRUE(tensors.is_ok()) << tensors.status().message();
  std::vector<std::pair<std::string, std::string>> found;
  for (const TorchTensor& t : *tensors) found.emplace_back(t.name, t.unread.substr(0, t.unread.find(';')));
  EXPECT_EQ(found, (std::vector<std::pair<std::string, std::string>>{
                       {"w", ""},
                       {"opt", "is a dictionary"},
                       {"args", "is an object 'Namespace'"},
                       {"np", "is an object 'scalar'"},
                       {"set", "is a list"},
                       {"frozen", "is a tuple"},
                       {"default", "is an object 'defaultdict'"},
                       {"kw", "is an object 'C'"},
                       {"q", "is stored as 'QInt8Storage'"},
                       {"mask", "has shape [1000, 2] but repeats elements of its storage of 2"}}));
}

TEST(TorchZip, ADictionaryInsideIsNamed) {
  TorchFile inner;
  inner.tensor("w", "FloatStorage", "0", 2, 0, {2}, {1});
  std::string pickle = "\x80\x02}X" + testing::Bytes().put<uint32_t>(5).raw("model").data +
                       inner.pickle.data.substr(2) + "us.";
  auto tensors =
      parse_torch_zip(bytes_of(TorchFile::zip({{"a/data.pkl", pickle}, {"a/data/0", "12345678"}})), "m.bin");
  EXPECT_EQ(tensors.status().message(),
            "m.bin: holds no tensors but in its entry 'model'; expected a dictionary of tensors, save that "
            "entry alone");
}

struct Bad {
  const char* name;
  std::string file;
  const char* expected;
};
class BadTorch : public ::testing::TestWithParam<Bad> {};

TEST_P(BadTorch, IsRefusedInOneSentence) {
  std::string message = problem(GetParam().file);
  EXPECT_TRUE(message.starts_with("m.bin: ")) << message;
  EXPECT_NE(message.find(GetParam().expected), std::string::npos) << message;
}

std::string one(int64_t elements, int64_t offset, const std::vector<int64_t>& shape,
                const std::vector<int64_t>& strides, size_t bytes) {
  return TorchFile()
      .tensor("w", "FloatStorage", "0", elements, offset, shape, strides)
      .storage("0", std::string(bytes, 'x'))
      .build();
}
std::string entries(std::vector<TorchFile::Entry> all) { return TorchFile::zip(all); }
std::string sound() { return one(4, 0, {4}, {1}, 16); }
std::string patched(std::string file, size_t from_end, uint32_t value) {
  std::memcpy(file.data() + file.size() - from_end, &value, 4);
  return file;
}
constexpr int64_t kHuge = int64_t{1} << 62;
using namespace std::string_literals;

INSTANTIATE_TEST_SUITE_P(
    Cases, BadTorch,
    ::testing::Values(
        Bad{"legacy", "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"s,
            "written by PyTorch before 1.6"},
        Bad{"tar", std::string(257, 'a') + "ustar\0"s, "written by PyTorch before 1.6"},
        Bad{"pickle", "\x80\x04}.", "a bare pickle"},
        Bad{"lfs", "version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"},
        Bad{"text", "hello", "not a zip file"}, Bad{"empty", "", "not a zip file"},
        Bad{"cut", sound().substr(0, sound().size() - 1), "no zip end record"},
        Bad{"directory_offset", patched(sound(), 6, 0x7FFFFFFF), "does not fit in the file"},
        Bad{"directory_size", patched(sound(), 10, 0x7FFFFFFF), "does not fit in the file"},
        Bad{"zip64", patched(sound(), 6, 0xFFFFFFFF), "no zip64 locator"},
        Bad{"compressed", entries({{"a/data.pkl", "x", 8}}), "is compressed (method 8)"},
        Bad{"encrypted", entries({{"a/data.pkl", "x", 0, 1}}), "is encrypted"},
        Bad{"no_pickle", entries({{"a/b", "x"}}), "without data.pkl"},
        Bad{"two_pickles", entries({{"a/data.pkl", ""}, {"b/data.pkl", ""}}), "two data.pkl"},
        Bad{"entry_twice", entries({{"a/data.pkl", ""}, {"a/data.pkl", ""}}), "stands twice"},
        Bad{"big_endian", entries({{"a/data.pkl", "\x80\x02}."}, {"a/byteorder", "big"}}),
            "byte order 'big'"},
        Bad{"no_storage", TorchFile().tensor("w", "FloatStorage", "7", 1, 0, {1}, {1}).build(),
            "lies in storage '7', which the zip lacks"},
        Bad{"storage_short", one(4, 0, {4}, {1}, 15), "declared as 4 elements of 4 bytes; found 15 bytes"},
        Bad{"storage_overflow", one(kHuge, 0, {1}, {1}, 4), "declared as 4611686018427387904 elements"},
        Bad{"outside", one(4, 1, {4}, {1}, 16), "reaches outside its storage of 4 elements"},
        Bad{"offset", one(4, kHuge, {1}, {1}, 16), "reaches outside its storage"},
        Bad{"stride_overflow", one(4, 0, {4}, {kHuge}, 16), "reaches outside its storage"},
        Bad{"shape_overflow", one(4, 0, {kHuge, kHuge}, {0, 0}, 16), "impossible shape"},
        Bad{"negative_shape", one(4, 0, {-4}, {1}, 16), "size or stride that is no count"},
        Bad{"negative_stride", one(4, 0, {4}, {-1}, 16), "size or stride that is no count"},
        Bad{"negative_offset", one(4, -1, {4}, {1}, 16), "negative offset"},
        Bad{"ranks", one(4, 0, {4}, {1, 1}, 16), "other numbers of sizes and strides"},
        Bad{"twice",
            TorchFile()
                .tensor("w", "FloatStorage", "0", 1, 0, {1}, {1})
                .tensor("w", "FloatStorage", "0", 1, 0, {1}, {1})
                .storage("0", "1234")
                .build(),
            "tensor 'w' stands twice"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace mlc
