// Reads the zip around a PyTorch checkpoint and ties each tensor of the pickle to bytes of the file.
#include "formats/torch_zip.h"

#include <algorithm>
#include <unordered_map>

#include "base/file_kind.h"
#include "base/strings.h"
#include "formats/checked.h"
#include "formats/torch_pickle.h"

namespace mlc {
namespace {

constexpr uint32_t kLocalMagic = 0x04034b50, kCentralMagic = 0x02014b50, kEndMagic = 0x06054b50;
constexpr uint32_t kEnd64Magic = 0x06064b50, kLocator64Magic = 0x07064b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kLocatorSize = 20;

struct Entry {
  std::string_view name;
  uint64_t offset, size;
};

struct Directory {
  uint64_t offset = 0, size = 0, count = 0;
};

class Zip {
 public:
  Zip(std::span<const std::byte> bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  Result<std::vector<Entry>> entries() {
    Directory directory;
    RETURN_IF_ERROR(find_directory(directory));
    if (!range_inside(directory.offset, directory.size, bytes_.size()) ||
        directory.count > directory.size / kCentralSize)
      return bad(str("the zip directory (", directory.count, " entries in ", directory.size, " bytes at ",
                     directory.offset, ") does not fit in the file of ", bytes_.size(), " bytes"));
    ByteCursor cursor(bytes_.subspan(directory.offset, directory.size));
    std::vector<Entry> entries;
    for (uint64_t i = 0; i < directory.count; ++i) {
      Entry entry;
      RETURN_IF_ERROR(read_entry(cursor, directory.offset, entry));
      entries.push_back(entry);
    }
    RETURN_IF_ERROR(check_disjoint(entries));
    return entries;
  }

 private:
  template <typename T>
  T at(std::span<const std::byte> record, size_t offset) const {
    T value;
    std::memcpy(&value, record.data() + offset, sizeof(T));
    return value;
  }
  Status bad(const std::string& sentence) const { return Status::error(str(what_, ": ", sentence)); }

  Status find_directory(Directory& directory) {
    if (bytes_.size() < kEndSize) return bad(str(bytes_.size(), " bytes long; expected a zip file"));
    size_t lowest = bytes_.size() - std::min<size_t>(bytes_.size(), kEndSize + 65'535);
    for (size_t at_byte = bytes_.size() - kEndSize + 1; at_byte-- > lowest;) {
      auto record = bytes_.subspan(at_byte);
      if (at<uint32_t>(record, 0) != kEndMagic || at<uint16_t>(record, 20) != record.size() - kEndSize)
        continue;
      directory = {.offset = at<uint32_t>(record, 16),
                   .size = at<uint32_t>(record, 12),
                   .count = at<uint16_t>(record, 10)};
      bool is_64 =
          directory.offset == 0xFFFFFFFF || directory.size == 0xFFFFFFFF || directory.count == 0xFFFF;
      return is_64 ? find_directory_64(at_byte, directory) : Status::ok();
    }
    return bad("no zip end record; the file is truncated, download it again");
  }

  Status find_directory_64(size_t end_at, Directory& directory) {
    if (end_at < kLocatorSize || at<uint32_t>(bytes_.subspan(end_at - kLocatorSize), 0) != kLocator64Magic)
      return bad("no zip64 locator before the end record; the file is damaged");
    uint64_t record_at = at<uint64_t>(bytes_.subspan(end_at - kLocatorSize), 8);
    if (!range_inside(record_at, 56, bytes_.size()) ||
        at<uint32_t>(bytes_.subspan(record_at), 0) != kEnd64Magic)
      return bad(str("no zip64 end record at byte ", record_at, "; the file is damaged"));
    auto record = bytes_.subspan(record_at);
    directory = {.offset = at<uint64_t>(record, 48),
                 .size = at<uint64_t>(record, 40),
                 .count = at<uint64_t>(record, 32)};
    return Status::ok();
  }

  Status read_entry(ByteCursor& cursor, uint64_t directory_at, Entry& entry) {
    std::span<const std::byte> record, extra, comment;
    if (!cursor.take(kCentralSize, record) || at<uint32_t>(record, 0) != kCentralMagic)
      return bad("a damaged record in the zip directory");
    if (!cursor.take_text(at<uint16_t>(record, 28), entry.name) ||
        !cursor.take(at<uint16_t>(record, 30), extra) || !cursor.take(at<uint16_t>(record, 32), comment))
      return bad("a record of the zip directory reaches past its end");
    std::string where = "zip entry " + shown_name(entry.name);
    if (at<uint16_t>(record, 8) & 1) return bad(where + " is encrypted; expected a plain torch.save file");
    uint16_t method = at<uint16_t>(record, 10);
    if (method != 0)
      return bad(
          str(where, " is compressed (method ", method, "); expected stored entries, as torch.save writes"));
    uint64_t packed = at<uint32_t>(record, 20), local = at<uint32_t>(record, 42);
    entry.size = at<uint32_t>(record, 24);
    RETURN_IF_ERROR(read_extra_64(extra, where, entry.size, packed, local));
    if (packed != entry.size)
      return bad(str(where, " has ", packed, " stored bytes for ", entry.size, "; expected the same number"));
    if (!range_inside(local, kLocalSize, directory_at) ||
        at<uint32_t>(bytes_.subspan(local), 0) != kLocalMagic)
      return bad(str(where, " has no header at byte ", local, "; the file is damaged"));
    auto header = bytes_.subspan(local);
    entry.offset = local + kLocalSize + at<uint16_t>(header, 26) + at<uint16_t>(header, 28);
    if (!range_inside(entry.offset, entry.size, directory_at))
      return bad(str(where, " of ", entry.size, " bytes at ", entry.offset, " reaches past the ",
                     directory_at, " bytes before the zip directory"));
    return Status::ok();
  }

  // Values of 0xFFFFFFFF stand in the zip64 extra field (id 1), in this order, only those that overflowed.
  Status read_extra_64(std::span<const std::byte> extra, const std::string& where, uint64_t& size,
                       uint64_t& packed, uint64_t& local) {
    constexpr uint64_t kElsewhere = 0xFFFFFFFF;
    if (size != kElsewhere && packed != kElsewhere && local != kElsewhere) return Status::ok();
    ByteCursor fields(extra);
    uint16_t id = 0, length = 0;
    std::span<const std::byte> field;
    while (fields.read(id) && fields.read(length) && fields.take(length, field)) {
      if (id != 1) continue;
      ByteCursor values(field);
      bool complete = (size != kElsewhere || values.read(size)) &&
                      (packed != kElsewhere || values.read(packed)) &&
                      (local != kElsewhere || values.read(local));
      if (complete) return Status::ok();
      break;
    }
    return bad(where + " lacks its zip64 sizes; the file is damaged");
  }

  Status check_disjoint(const std::vector<Entry>& entries) const {
    std::vector<const Entry*> order;
    for (const Entry& entry : entries) order.push_back(&entry);
    std::sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
      return a->offset != b->offset ? a->offset < b->offset : a->size < b->size;
    });
    uint64_t end = 0;
    for (const Entry* entry : order) {
      if (entry->offset < end)
        return bad(str("zip entry ", shown_name(entry->name), " overlaps the entry before it"));
      end = entry->offset + entry->size;
    }
    return Status::ok();
  }

  std::span<const std::byte> bytes_;
  const std::string& what_;
};

// Files that are no zip get a reason and a remedy.
Status check_kind(std::span<const std::byte> bytes, const std::string& what) {
  std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kProbeBytes));
  RETURN_IF_ERROR(check_not_stand_in(head, bytes.size(), what));
  constexpr std::string_view remedy =
      "; load it with a current PyTorch and save it again: torch.save(torch.load(FILE, weights_only=True), "
      "FILE)";
  FileKind kind = file_kind(head, bytes.size());
  if (kind == FileKind::kZip) return Status::ok();
  if (kind == FileKind::kLegacyTorch || kind == FileKind::kTar)
    return Status::error(str(what, ": written by PyTorch before 1.6 (not a zip); expected a zip", remedy));
  if (kind == FileKind::kPickle)
    return Status::error(str(what, ": a bare pickle; expected a zip by torch.save", remedy));
  return Status::error(
      str(what, ": ", kind_name(kind), ", not a zip file; expected a checkpoint by torch.save"));
}

// Whether strides are those of C order; dimensions of size 1 do not count.
bool is_contiguous(const PickledTensor& t) {
  uint64_t expected = 1;
  for (size_t i = t.shape.size(); i-- > 0;) {
    if (t.shape[i] != 1 && static_cast<uint64_t>(t.strides[i]) != expected) return false;
    expected *= static_cast<uint64_t>(t.shape[i]);  // the product was checked by the caller
  }
  return true;
}

TorchTensor unread_tensor(std::string_view name, std::string why) {
  return {.name = std::string(name),
          .unread = std::move(why),
          .dtype = DType::kU8,
          .shape = {0},
          .strides = {},
          .offset = 0,
          .size = 0};
}

Result<TorchTensor> place(const PickledTensor& t, const Entry& storage, const std::string& what) {
  auto bad = [&](const std::string& found) {
    return Status::error(str(what, ": tensor ", shown_name(t.name), " ", found));
  };
  uint64_t item = static_cast<uint64_t>(size_of(t.dtype));
  auto storage_bytes = checked_multiply(t.storage_elements, item);
  if (!storage_bytes || *storage_bytes != storage.size)
    return bad(str("has a storage declared as ", t.storage_elements, " elements of ", item, " bytes; found ",
                   storage.size, " bytes"));
  auto count = element_count(t.shape);
  if (!count) return bad(str("has the impossible shape ", shown_shape(t.shape)));
  TorchTensor out{.name = std::string(t.name),
                  .unread = {},
                  .dtype = t.dtype,
                  .shape = t.shape,
                  .strides = {},
                  .offset = storage.offset,
                  .size = 0};
  if (*count == 0) return out;
  std::optional<uint64_t> last = t.offset;  // index of the last element
  for (size_t i = 0; i < t.shape.size() && last; ++i) {
    auto reach = checked_multiply(static_cast<uint64_t>(t.shape[i] - 1), static_cast<uint64_t>(t.strides[i]));
    last = reach ? checked_add(*last, *reach) : std::nullopt;
  }
  if (!last || *last >= t.storage_elements)
    return bad(str("of shape ", shown_shape(t.shape), ", strides ", shown_shape(t.strides), " and offset ",
                   t.offset, " reaches outside its storage of ", t.storage_elements, " elements"));
  if (*count > t.storage_elements)
    return unread_tensor(t.name,
                         str("has shape ", shown_shape(t.shape), " but repeats elements of its storage of ",
                             t.storage_elements, "; expected one element each (save it with .contiguous())"));
  out.offset = storage.offset + t.offset * item;
  out.size = (*last - t.offset + 1) * item;
  if (!is_contiguous(t)) out.strides = t.strides;
  return out;
}

}  // namespace

Result<std::vector<TorchTensor>> parse_torch_zip(std::span<const std::byte> bytes, const std::string& what) {
  RETURN_IF_ERROR(check_kind(bytes, what));
  ASSIGN_OR_RETURN(std::vector<Entry> entries, Zip(bytes, what).entries());
  std::unordered_map<std::string_view, const Entry*> by_name;
  const Entry* pickle = nullptr;
  for (const Entry& entry : entries) {
    if (!by_name.emplace(entry.name, &entry).second)
      return Status::error(str(what, ": zip entry ", shown_name(entry.name), " stands twice"));
    bool is_pickle = entry.name == "data.pkl" || entry.name.ends_with("/data.pkl");
    if (is_pickle && pickle) return Status::error(str(what, ": two data.pkl entries; expected one"));
    if (is_pickle) pickle = &entry;
  }
  if (!pickle)
    return Status::error(str(what, ": a zip without data.pkl; expected a checkpoint by torch.save"));
  std::string prefix(pickle->name.substr(0, pickle->name.size() - std::string_view("data.pkl").size()));
  auto text_of = [&](const Entry& e) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()) + e.offset, e.size);
  };
  auto order = by_name.find(prefix + "byteorder");
  if (order != by_name.end() && text_of(*order->second) != "little")
    return Status::error(str(what, ": byte order ", shown_name(text_of(*order->second)),
                             "; expected 'little' (save it on a little-endian machine)"));
  ASSIGN_OR_RETURN(auto pickled, parse_torch_pickle(bytes.subspan(pickle->offset, pickle->size), what));
  std::vector<TorchTensor> tensors;
  for (const PickledTensor& t : pickled) {
    if (!t.unread.empty()) {
      tensors.push_back(unread_tensor(t.name, t.unread));
      continue;
    }
    auto storage = by_name.find(prefix + "data/" + std::string(t.storage_key));
    if (storage == by_name.end())
      return Status::error(str(what, ": tensor ", shown_name(t.name), " lies in storage ",
                               shown_name(t.storage_key), ", which the zip lacks"));
    ASSIGN_OR_RETURN(TorchTensor tensor, place(t, *storage->second, what));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace mlc
