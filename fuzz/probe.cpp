// What a file is, the JSON that Python would read in it, and the names of parts.
#include <optional>

#include "base/file_kind.h"
#include "base/json.h"
#include "formats/weight_files.h"
#include "read_all.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  std::string_view text = fuzz::text_of(data, size);
  FileKind kind = file_kind(text.substr(0, kProbeBytes), size);
  auto probed = probe_file(fuzz::memory_file(data, size));
  internal_check(probed.is_ok() && *probed == kind, "a file is what its bytes are");
  Status refused = check_not_stand_in(text, size, fuzz::kFile);
  fuzz::check_status(refused);
  bool stands_in = kind == FileKind::kLfsPointer || kind == FileKind::kErrorPage;
  internal_check(refused.is_ok() == !stands_in, "pointers and pages are refused, and nothing else");

  auto json = parse_json(text, fuzz::kFile);
  fuzz::check_status(json.status());
  if (std::optional<std::string> standard = standard_json(text); standard && json.is_ok())
    internal_check(!standard_json(*standard), "one pass makes a text standard");

  auto part = parse_part_name(text);
  if (part) internal_check(part->name_of(part->number) == text, "a part's name is written as it was read");
  internal_check(parts_of(std::string(text.substr(0, text.find('\0')))).size() >= 1,
                 "a file is a part of itself");
  return 0;
}
