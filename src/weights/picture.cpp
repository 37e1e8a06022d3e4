// Draws on a canvas of palette entries and packs it with zlib.
#include "weights/picture.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::weights {
namespace {

enum Colour : uint8_t { kPaper, kInk, kGrid, kSame, kOther, kMean };
constexpr uint8_t kPalette[] = {255, 255, 255, 32,  32, 32, 222, 222, 222,
                                96,  150, 205, 205, 60, 50, 20,  20,  20};

// Columns of a glyph of 5 x 7, the lowest bit on top.
struct Glyph {
  char c;
  uint8_t columns[5];
};
constexpr Glyph kGlyphs[] = {{'0', {0x3E, 0x51, 0x49, 0x45, 0x3E}}, {'1', {0x00, 0x42, 0x7F, 0x40, 0x00}},
                             {'2', {0x42, 0x61, 0x51, 0x49, 0x46}}, {'3', {0x21, 0x41, 0x45, 0x4B, 0x31}},
                             {'4', {0x18, 0x14, 0x12, 0x7F, 0x10}}, {'5', {0x27, 0x45, 0x45, 0x45, 0x39}},
                             {'6', {0x3C, 0x4A, 0x49, 0x49, 0x30}}, {'7', {0x01, 0x71, 0x09, 0x05, 0x03}},
                             {'8', {0x36, 0x49, 0x49, 0x49, 0x36}}, {'9', {0x06, 0x49, 0x49, 0x29, 0x1E}},
                             {'.', {0x00, 0x60, 0x60, 0x00, 0x00}}, {'-', {0x08, 0x08, 0x08, 0x08, 0x08}},
                             {'%', {0x23, 0x13, 0x08, 0x64, 0x62}}, {'K', {0x7F, 0x08, 0x14, 0x22, 0x41}},
                             {'L', {0x7F, 0x40, 0x40, 0x40, 0x40}}, {'a', {0x20, 0x54, 0x54, 0x54, 0x78}},
                             {'c', {0x38, 0x44, 0x44, 0x44, 0x20}}, {'e', {0x38, 0x54, 0x54, 0x54, 0x18}},
                             {'f', {0x08, 0x7E, 0x09, 0x01, 0x02}}, {'h', {0x7F, 0x08, 0x04, 0x04, 0x78}},
                             {'i', {0x00, 0x44, 0x7D, 0x40, 0x00}}, {'l', {0x00, 0x41, 0x7F, 0x40, 0x00}},
                             {'m', {0x7C, 0x04, 0x18, 0x04, 0x78}}, {'n', {0x7C, 0x08, 0x04, 0x04, 0x78}},
                             {'o', {0x38, 0x44, 0x44, 0x44, 0x38}}, {'p', {0x7C, 0x14, 0x14, 0x14, 0x08}},
                             {'r', {0x7C, 0x08, 0x04, 0x04, 0x08}}, {'s', {0x48, 0x54, 0x54, 0x54, 0x20}},
                             {'t', {0x04, 0x3F, 0x44, 0x40, 0x20}}, {'u', {0x3C, 0x40, 0x40, 0x20, 0x7C}},
                             {'x', {0x44, 0x28, 0x10, 0x28, 0x44}}, {'y', {0x0C, 0x50, 0x50, 0x50, 0x3C}}};
constexpr int kScale = 2, kAdvance = 6 * kScale, kLine = 7 * kScale;

class Canvas {
 public:
  Canvas(int width, int height) : width_(width), height_(height), pixels_(size_t(width * height), kPaper) {}

  void dot(int x, int y, Colour c) {
    if (x >= 0 && x < width_ && y >= 0 && y < height_) pixels_[size_t(y * width_ + x)] = c;
  }
  void box(int x, int y, int width, int height, Colour c) {
    for (int j = 0; j < height; ++j)
      for (int i = 0; i < width; ++i) dot(x + i, y + j, c);
  }
  void text(int x, int y, const std::string& text) {
    for (char c : text) {
      const auto* glyph = std::ranges::find(kGlyphs, c, &Glyph::c);
      for (int i = 0; i < 5 && glyph != std::end(kGlyphs); ++i)
        for (int j = 0; j < 7; ++j)
          if (glyph->columns[i] >> j & 1) box(x + i * kScale, y + j * kScale, kScale, kScale, kInk);
      x += kAdvance;
    }
  }
  std::string png() const;

 private:
  int width_, height_;
  std::vector<uint8_t> pixels_;
};

void put_u32(std::string& to, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>(value >> shift & 0xFF);
}

// Length, type, content and the checksum of the last two.
void put_chunk(std::string& to, const std::string& type, const std::string& content) {
  put_u32(to, static_cast<uint32_t>(content.size()));
  const std::string checked = type + content;
  to += checked;
  put_u32(to, static_cast<uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(checked.data()),
                                            static_cast<uInt>(checked.size()))));
}

std::string Canvas::png() const {
  std::string lines;
  for (int y = 0; y < height_; ++y) {
    lines += '\0';  // no filter
    lines.append(reinterpret_cast<const char*>(pixels_.data()) + y * width_, size_t(width_));
  }
  uLongf size = ::compressBound(static_cast<uLong>(lines.size()));
  std::string packed(size, '\0');
  const int code = ::compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                               reinterpret_cast<const Bytef*>(lines.data()), static_cast<uLong>(lines.size()),
                               Z_BEST_COMPRESSION);
  internal_check(code == Z_OK, "the buffer is as large as zlib asks for");
  packed.resize(size);
  std::string header;
  put_u32(header, static_cast<uint32_t>(width_)), put_u32(header, static_cast<uint32_t>(height_));
  header += std::string("\x08\x03\0\0\0", 5);  // 8 bits, a palette, deflate, filters by line, not interlaced
  std::string file = "\x89PNG\r\n\x1A\n";
  put_chunk(file, "IHDR", header);
  put_chunk(file, "PLTE", std::string(reinterpret_cast<const char*>(kPalette), sizeof(kPalette)));
  put_chunk(file, "IDAT", packed);
  put_chunk(file, "IEND", "");
  return file;
}

constexpr int kWidth = 960, kHeight = 380;
constexpr int kLeft = 84, kTop = 36, kRight = kWidth - 16, kBottom = kHeight - 34;  // of the plot
constexpr double kLowest = -5, kHighest = 1;                                        // powers of ten

int place_of(double divergence) {
  const double power = std::clamp(std::log10(std::max(divergence, 1e-30)), kLowest, kHighest);
  return kBottom - static_cast<int>((power - kLowest) / (kHighest - kLowest) * (kBottom - kTop));
}

std::string number(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

void draw_axes(Canvas& canvas, int64_t positions) {
  for (int power = static_cast<int>(kLowest); power <= static_cast<int>(kHighest); ++power) {
    const int y = place_of(std::pow(10.0, power));
    canvas.box(kLeft, y, kRight - kLeft, 1, kGrid);
    const std::string label = power >= 0 ? number("%.0f", std::pow(10.0, power))
                                         : "0." + std::string(static_cast<size_t>(-power - 1), '0') + "1";
    canvas.text(kLeft - 6 - kAdvance * static_cast<int>(std::min<size_t>(label.size(), 6)), y - kLine / 2,
                label.size() > 6 ? "1e-5" : label);
  }
  canvas.box(kLeft, kBottom, kRight - kLeft, 1, kInk), canvas.box(kLeft, kTop, 1, kBottom - kTop, kInk);
  canvas.text(kLeft, kBottom + 10, "0");
  canvas.text(kLeft + 20 * kAdvance, kBottom + 10, "KL of each position");
  const std::string last = std::to_string(positions);
  canvas.text(kRight - kAdvance * static_cast<int>(last.size()), kBottom + 10, last);
}

// The mean of a 40th of the positions around each.
void draw_mean(Canvas& canvas, const std::vector<VerifyPosition>& all, const std::vector<int>& places) {
  const auto count = static_cast<int64_t>(all.size()), reach = std::max<int64_t>(1, count / 80);
  std::vector<double> before(all.size() + 1);
  for (size_t i = 0; i < all.size(); ++i) before[i + 1] = before[i] + all[i].kl_divergence;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = std::max<int64_t>(0, i - reach), end = std::min(count, i + reach + 1);
    const double mean = (before[size_t(end)] - before[size_t(begin)]) / static_cast<double>(end - begin);
    const int to = i + 1 < count ? places[size_t(i + 1)] : places[size_t(i)] + 1;
    canvas.box(places[size_t(i)], place_of(mean), std::max(2, to - places[size_t(i)]), 2, kMean);
  }
}

}  // namespace

std::string verify_picture(const VerifyReport& r) {
  Canvas canvas(kWidth, kHeight);
  canvas.text(kLeft, 10,
              str("KL ", number("%.5f", r.kl_divergence), "  same top ",
                  number("%.2f", 100 * r.top1_agreement), "%  perplexity ",
                  number("%.3f", r.perplexity_converted), " source ", number("%.3f", r.perplexity_source)));
  draw_axes(canvas, r.positions);
  const auto count = static_cast<int64_t>(r.by_position.size());
  std::vector<int> places;
  for (int64_t i = 0; i < count; ++i) {
    places.push_back(kLeft + 2 + static_cast<int>(i * (kRight - kLeft - 4) / std::max<int64_t>(1, count)));
    const VerifyPosition& p = r.by_position[size_t(i)];
    canvas.box(places.back() - 1, place_of(p.kl_divergence) - 1, 3, 3, p.same_top ? kSame : kOther);
  }
  draw_mean(canvas, r.by_position, places);
  return canvas.png();
}

}  // namespace mlc::weights
