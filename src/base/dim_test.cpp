// Tests of dimension expressions: folding, evaluation, text round trips, refusal of bad text.
#include "base/dim.h"

#include <gtest/gtest.h>

namespace mlc {
namespace {

TEST(Dims, FoldAndEvaluate) {
  Dim rows = Dim::symbol("rows");
  EXPECT_EQ((Dim(3) * Dim(4)).constant(), 12);
  EXPECT_EQ(rows * 1, rows);
  EXPECT_EQ((rows * 0).constant(), 0);
  Dim tiles = ceildiv(rows, 16) * 3 + 1;
  EXPECT_EQ(tiles.evaluate({{"rows", 17}}), 7);
  EXPECT_EQ(tiles.evaluate({}), std::nullopt);
  EXPECT_EQ(floordiv(rows, Dim::symbol("z")).evaluate({{"rows", 1}, {"z", 0}}), std::nullopt);
  EXPECT_EQ((rows * rows).evaluate({{"rows", INT64_MAX}}), std::nullopt);
  EXPECT_EQ(apply(DimOp::kFloorDiv, -7, 2), -4);
  EXPECT_EQ(apply(DimOp::kCeilDiv, -7, 2), -3);
  EXPECT_EQ(apply(DimOp::kMod, -7, 2), 1);
}

TEST(Dims, TextRoundTrips) {
  Dim rows = Dim::symbol("rows"), pages = Dim::symbol("pages");
  for (const Dim& d : {Dim(-5), rows, rows * 2304 - pages, min(ceildiv(rows, 16), mod(pages, 7)),
                       max(rows, floordiv(pages, 2))})
    EXPECT_EQ(Dim::parse(d.text()), d) << d.text();
  for (const char* bad :
       {"", "(rows", "rows)", "(rows ^ 2)", "foo(1, 2)", "min(1)", "99999999999999999999", "1 2"})
    EXPECT_EQ(Dim::parse(bad), std::nullopt) << bad;
  EXPECT_EQ(Dim::parse(std::string(1000, '(')), std::nullopt);
}

}  // namespace
}  // namespace mlc
