// A bounded reader of SentencePiece's protobuf and the conversion of its two model types.
#include "chat/tokenizer/sentencepiece.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "base/strings.h"
#include "chat/tokenizer/tokenizer_json.h"

namespace mlc {
namespace {

enum PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
constexpr const char* kUnderline = "\xE2\x96\x81";  // U+2581

enum ModelType { kUnigram = 1, kBpe = 2 };

// One protobuf field; `number_value` for varint and fixed types, `bytes` for length-delimited ones.
struct Field {
  uint32_t number = 0;
  uint64_t number_value = 0;
  std::string_view bytes;
};

// Walks the fields of one message; next() is false at its end and after damage, which ok() tells apart.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}
  bool ok() const { return ok_; }

  bool next(Field& field) {
    if (rest_.empty() || !ok_) return false;
    uint64_t key = varint(), length = 0;
    field = {};
    field.number = static_cast<uint32_t>(key >> 3);
    switch (key & 7) {
      case 0: field.number_value = varint(); break;
      case 1: field.number_value = fixed(8); break;
      case 2:
        length = varint();
        field.bytes = take(length);
        break;
      case 5: field.number_value = fixed(4); break;
      default: ok_ = false;
    }
    return ok_;
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      std::string_view b = take(1);
      if (!ok_) return 0;
      value |= static_cast<uint64_t>(b[0] & 0x7F) << shift;
      if (!(b[0] & 0x80)) return value;
    }
    ok_ = false;
    return 0;
  }
  uint64_t fixed(size_t size) {
    std::string_view b = take(size);
    uint64_t value = 0;
    if (ok_) std::memcpy(&value, b.data(), size);
    return value;
  }
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      return {};
    }
    std::string_view head = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return head;
  }

  std::string_view rest_;
  bool ok_ = true;
};

struct Piece {
  std::string text;
  float score = 0;
  int type = kNormal;
};

struct Model {
  std::vector<Piece> pieces;
  uint64_t type = kUnigram;
  int64_t unknown_id = 0, bos_id = 1, eos_id = 2;
  bool byte_fallback = false, dummy_prefix = true, remove_extra_spaces = true;
  std::string charsmap;
};

bool read_piece(std::string_view bytes, Piece& piece) {
  Message message(bytes);
  for (Field field; message.next(field);) {
    uint32_t bits = static_cast<uint32_t>(field.number_value);
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2) std::memcpy(&piece.score, &bits, sizeof bits);
    if (field.number == 3) piece.type = static_cast<int>(field.number_value);
  }
  return message.ok() && is_valid_utf8(piece.text);
}

bool read_model(std::string_view bytes, Model& model) {
  Message message(bytes);
  for (Field field; message.next(field);) {
    Message inner(field.bytes);
    if (field.number == 1) {
      if (!read_piece(field.bytes, model.pieces.emplace_back())) return false;
    } else if (field.number == 2) {
      for (Field spec; inner.next(spec);) {
        if (spec.number == 3) model.type = spec.number_value;
        if (spec.number == 40) model.unknown_id = static_cast<int64_t>(spec.number_value);
        if (spec.number == 41) model.bos_id = static_cast<int64_t>(spec.number_value);
        if (spec.number == 42) model.eos_id = static_cast<int64_t>(spec.number_value);
        if (spec.number == 35) model.byte_fallback = spec.number_value != 0;
      }
    } else if (field.number == 3) {
      for (Field spec; inner.next(spec);) {
        if (spec.number == 2) model.charsmap = spec.bytes;
        if (spec.number == 3) model.dummy_prefix = spec.number_value != 0;
        if (spec.number == 4) model.remove_extra_spaces = spec.number_value != 0;
      }
    }
    if (!inner.ok() && (field.number == 2 || field.number == 3)) return false;
  }
  return message.ok();
}

}  // namespace

Result<std::string> tokenizer_json_from_sentencepiece(std::string_view bytes, const std::string& what,
                                                      bool prefix_start_only, SentencePieceNames* names) {
  Model model;
  if (!read_model(bytes, model) || model.pieces.empty())
    return Status::error(str(what, ": not a SentencePiece model; the file is damaged or truncated"));
  if (model.type != kUnigram && model.type != kBpe)
    return Status::error(str(what, ": SentencePiece model type ", model.type,
                             " found, expected 1 (unigram) or 2 (BPE); use the model's tokenizer.json"));
  TokenizerParts parts;
  parts.byte_fallback = model.byte_fallback;
  bool start_only = prefix_start_only && model.dummy_prefix && model.type == kBpe;
  if (start_only)
    parts.pre_tokenizer = {
        {"type", "Metaspace"}, {"replacement", kUnderline}, {"prepend_scheme", "first"}, {"split", false}};
  parts.normalizer = sentencepiece_normalizer(model.dummy_prefix && !start_only, model.remove_extra_spaces,
                                              model.charsmap.empty() ? "" : encode_base64(model.charsmap));
  parts.decoder = sentencepiece_decoder(model.dummy_prefix);
  std::vector<std::pair<std::string, double>> mergeable;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    int32_t number = static_cast<int32_t>(id);
    if (piece.type == kUnknown) {
      parts.unknown = piece.text;
      parts.unknown_id = number;
    }
    if (piece.type == kUnknown || piece.type == kControl || piece.type == kUserDefined)
      parts.added.push_back({number, piece.text, piece.type != kUserDefined});
    if (model.type == kUnigram)
      parts.scored_vocab.emplace_back(piece.text, piece.score);
    else
      parts.vocab.emplace_back(piece.text, number);
    if (piece.type == kNormal || piece.type == kUserDefined) mergeable.emplace_back(piece.text, piece.score);
  }
  auto piece_at = [&](int64_t id) {
    return id >= 0 && id < static_cast<int64_t>(model.pieces.size())
               ? model.pieces[static_cast<size_t>(id)].text
               : "";
  };
  if (names) *names = {piece_at(model.bos_id), piece_at(model.eos_id), piece_at(model.unknown_id)};
  if (model.type == kBpe) parts.merges = merges_from_scores(mergeable);
  return write_tokenizer_json(parts);
}

}  // namespace mlc
