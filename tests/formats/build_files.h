// Makes checkpoint files for tests, sound or broken in one place, byte by byte.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mlc::testing {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Little-endian values one after another.
struct Bytes {
  std::string data;
  template <typename T>
  Bytes& put(T value) {
    data.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& raw(std::string_view text) {
    data += text;
    return *this;
  }
  Bytes& text64(std::string_view text) { return put<uint64_t>(text.size()).raw(text); }  // GGUF's text
  Bytes& pad(size_t multiple) {
    data.resize((data.size() + multiple - 1) / multiple * multiple, '\0');
    return *this;
  }
};

template <typename T>
std::string packed(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
template <typename T>
std::vector<T> unpacked(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

inline std::string safetensors(std::string_view header, std::string_view data) {
  return Bytes().put<uint64_t>(header.size()).raw(header).raw(data).data;
}

// A GGUF file; pairs and tensors may be written raw, to be wrong on purpose.
struct GgufFile {
  uint32_t version = 3;
  uint64_t alignment = 32;
  Bytes pairs, infos, body;
  uint64_t pair_count = 0, tensor_count = 0;

  GgufFile& text(std::string_view key, std::string_view value) {
    ++pair_count;
    pairs.text64(key).put<uint32_t>(8).text64(value);
    return *this;
  }
  template <typename T>
  GgufFile& number(std::string_view key, uint32_t type, T value) {
    ++pair_count;
    pairs.text64(key).put<uint32_t>(type).put(value);
    return *this;
  }
  GgufFile& count(std::string_view key, uint32_t value) { return number(key, 4, value); }
  GgufFile& real(std::string_view key, float value) { return number(key, 6, value); }
  template <typename T>
  GgufFile& array(std::string_view key, uint32_t type, const std::vector<T>& values) {
    ++pair_count;
    pairs.text64(key).put<uint32_t>(9).put<uint32_t>(type).put<uint64_t>(values.size()).raw(packed(values));
    return *this;
  }
  GgufFile& texts(std::string_view key, const std::vector<std::string>& values) {
    ++pair_count;
    pairs.text64(key).put<uint32_t>(9).put<uint32_t>(8).put<uint64_t>(values.size());
    for (const std::string& value : values) pairs.text64(value);
    return *this;
  }
  GgufFile& info(std::string_view name, const std::vector<uint64_t>& inner_first, uint32_t type,
                 uint64_t offset) {
    ++tensor_count;
    infos.text64(name)
        .put<uint32_t>(static_cast<uint32_t>(inner_first.size()))
        .raw(packed(inner_first))
        .put(type)
        .put(offset);
    return *this;
  }
  GgufFile& tensor(std::string_view name, const std::vector<uint64_t>& inner_first, uint32_t type,
                   std::string_view data) {
    body.pad(alignment);
    info(name, inner_first, type, body.data.size());
    body.raw(data);
    return *this;
  }
  std::string build() const {
    Bytes file;
    file.raw("GGUF").put(version).put(tensor_count).put(pair_count).raw(pairs.data).raw(infos.data);
    return file.pad(alignment).raw(body.data).data;
  }
};

// The pickle of a state dictionary as torch.save writes it, and the zip around it.
struct TorchFile {
  struct Entry {
    std::string name, data;
    uint16_t method = 0, flags = 0;
  };
  Bytes pickle;
  std::vector<Entry> entries;

  TorchFile() { pickle.raw("\x80\x02}("); }
  static void text(Bytes& out, std::string_view value) {
    out.raw("X").put<uint32_t>(static_cast<uint32_t>(value.size())).raw(value);
  }
  static void tuple(Bytes& out, const std::vector<int64_t>& values) {
    out.raw("(");
    for (int64_t v : values) {
      out.raw("\x8a").put<uint8_t>(8).put(v);
    }
    out.raw("t");
  }
  TorchFile& tensor(std::string_view name, std::string_view storage_class, std::string_view key,
                    int64_t elements, int64_t offset, const std::vector<int64_t>& shape,
                    const std::vector<int64_t>& strides) {
    text(pickle, name);
    pickle.raw("ctorch._utils\n_rebuild_tensor_v2\n((");
    text(pickle, "storage");
    pickle.raw("ctorch\n").raw(storage_class).raw("\n");
    text(pickle, key);
    text(pickle, "cpu");
    pickle.raw("\x8a").put<uint8_t>(8).put(elements).raw("tQ");
    pickle.raw("\x8a").put<uint8_t>(8).put(offset);
    tuple(pickle, shape);
    tuple(pickle, strides);
    pickle.raw(
        "\x89"
        "ccollections\nOrderedDict\n)RtR");
    return *this;
  }
  TorchFile& storage(std::string_view key, std::string_view data) {
    entries.push_back({"archive/data/" + std::string(key), std::string(data)});
    return *this;
  }
  static std::string zip(const std::vector<Entry>& entries) {
    Bytes file, directory;
    for (const Entry& e : entries) {
      auto size = static_cast<uint32_t>(e.data.size());
      auto at = static_cast<uint32_t>(file.data.size());
      auto name = static_cast<uint16_t>(e.name.size());
      file.put<uint32_t>(0x04034b50)
          .put<uint16_t>(0)
          .put(e.flags)
          .put(e.method)
          .put<uint32_t>(0)
          .put<uint32_t>(0);
      file.put(size).put(size).put(name).put<uint16_t>(0).raw(e.name).raw(e.data);
      directory.put<uint32_t>(0x02014b50)
          .put<uint32_t>(0)
          .put(e.flags)
          .put(e.method)
          .put<uint32_t>(0)
          .put<uint32_t>(0);
      directory.put(size).put(size).put(name).put<uint32_t>(0).put<uint32_t>(0).put<uint32_t>(0).put(at).raw(
          e.name);
    }
    auto at = static_cast<uint32_t>(file.data.size()), size = static_cast<uint32_t>(directory.data.size());
    auto count = static_cast<uint16_t>(entries.size());
    file.raw(directory.data)
        .put<uint32_t>(0x06054b50)
        .put<uint32_t>(0)
        .put(count)
        .put(count)
        .put(size)
        .put(at)
        .put<uint16_t>(0);
    return file.data;
  }
  std::string build() const {
    std::vector<Entry> all{{"archive/data.pkl", pickle.data + "u."}, {"archive/byteorder", "little"}};
    all.insert(all.end(), entries.begin(), entries.end());
    return zip(all);
  }
};

}  // namespace mlc::testing
