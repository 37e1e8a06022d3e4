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
  for (std::string_view op : {"i", "o", "P", "\x81", "\x82", "\x92", "0", "2", "I", "V"})
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
                "123456789",
                "integer of 9 bytes"},
           Case{"X\xff\xff\xff\xff"
                "a",
                "ends in the middle"},
           Case{"}NK\x01s.", "holds no tensors"},
           Case{"}X\x01\x00\x00\x00"
                "a}s."s,
                "entry 'a' is a dictionary"},
           Case{"ctorch._utils\n_rebuild_tensor_v2\n)R", "tensor not made of"},
       }) {
    std::string message = pickle_problem(c.pickle);
    EXPECT_NE(message.find(c.expected), std::string::npos)
        << ::testing::PrintToString(c.pickle) << ": " << message;
  }
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
        Bad{"lfs", "version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"},
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
        Bad{"storage_class",
            TorchFile().tensor("w", "QInt8Storage", "0", 1, 0, {1}, {1}).storage("0", "x").build(),
            "asks for 'torch'.'QInt8Storage'"},
        Bad{"storage_short", one(4, 0, {4}, {1}, 15), "declared as 4 elements of 4 bytes; found 15 bytes"},
        Bad{"storage_overflow", one(kHuge, 0, {1}, {1}, 4), "declared as 4611686018427387904 elements"},
        Bad{"outside", one(4, 1, {4}, {1}, 16), "reaches outside its storage of 4 elements"},
        Bad{"offset", one(4, kHuge, {1}, {1}, 16), "reaches outside its storage"},
        Bad{"stride_overflow", one(4, 0, {4}, {kHuge}, 16), "reaches outside its storage"},
        Bad{"shape_overflow", one(4, 0, {kHuge, kHuge}, {0, 0}, 16), "impossible shape"},
        Bad{"repeat", one(4, 0, {1000000, 4}, {0, 1}, 16), "repeats elements of its storage"},
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
