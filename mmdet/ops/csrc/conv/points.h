// The polynomials of a line of a tile are multiplied by their values at some points: 0 where kTile is even, opposite
// pairs, and infinity. The matrices that take a line there and back follow from the points (Toom and Cook).
#pragma once

#include <array>

namespace mmdet {

template <int kTile>
constexpr std::array<double, (kTile + 1) / 2> kPairs{};
// The error depends on the points: of 0, 1, -1, 2 and -2 it would be four times as large.
template <>
constexpr std::array<double, 2> kPairs<4>{0.70710678118654752, 1.41421356237309505};
template <>
constexpr std::array<double, 4> kPairs<7>{0.25, 0.6, 1, 2};
template <>
constexpr std::array<double, 4> kPairs<8>{0.4, 0.85, 1.25, 2.2};

template <int kTile>
constexpr int kNumPoints = kTile + 2;
template <int kTile>
constexpr int kFirstPair = 1 - kTile % 2;  // its points are this one and the next

// The finite points.
template <int kTile>
constexpr double point_at(int index) {
  if (index < kFirstPair<kTile>) {
    return 0;
  }
  const int place = index - kFirstPair<kTile>;
  return place % 2 ? -kPairs<kTile>[place / 2] : kPairs<kTile>[place / 2];
}

// Row: point, column: of the kSize elements of a line, which are inputs (as many as points), or output gradients or
// weights. Both lines of a pair of points differ in the sign of the odd columns alone.
template <int kTile, int kSize>
constexpr auto make_matrix() {
  constexpr int kPoints = kNumPoints<kTile>, kFinite = kPoints - 1;
  std::array<std::array<double, kSize>, kPoints> matrix{};
  for (int row = 0; row < kPoints; ++row) {
    if constexpr (kSize == kPoints) {  // coefficients of the product of x - q over the other finite points q
      matrix[row][0] = 1;
      int degree = 0;
      for (int other = 0; other < kFinite; ++other) {
        if (other == row) {
          continue;
        }
        ++degree;
        for (int k = degree; k >= 0; --k) {
          matrix[row][k] = (k > 0 ? matrix[row][k - 1] : 0) - point_at<kTile>(other) * matrix[row][k];
        }
      }
    } else if (row == kFinite) {
      matrix[row][kSize - 1] = 1;
    } else {
      double value = 1;
      for (int other = 0; other < kFinite; ++other) {
        value /= other == row ? 1 : point_at<kTile>(row) - point_at<kTile>(other);
      }
      for (int k = 0; k < kSize; ++k) {
        matrix[row][k] = value;
        value *= point_at<kTile>(row);
      }
    }
  }
  std::array<std::array<float, kSize>, kPoints> rounded{};
  for (int row = 0; row < kPoints; ++row) {
    const bool second = row < kFinite && row >= kFirstPair<kTile> && (row - kFirstPair<kTile>) % 2 == 1;
    for (int k = 0; k < kSize; ++k) {
      rounded[row][k] = static_cast<float>(second ? (k % 2 ? -1 : 1) * matrix[row - 1][k] : matrix[row][k]);
    }
  }
  return rounded;
}

template <int kTile, int kSize>
constexpr auto kMatrix = make_matrix<kTile, kSize>();

// kPowers<kTile>[pair][k]: the k-th power of the pair's positive point
template <int kTile>
constexpr auto make_powers() {
  std::array<std::array<float, kTile>, (kTile + 1) / 2> powers{};
  for (size_t pair = 0; pair < kPairs<kTile>.size(); ++pair) {
    double value = 1;
    for (int k = 0; k < kTile; ++k) {
      powers[pair][k] = static_cast<float>(value);
      value *= kPairs<kTile>[pair];
    }
  }
  return powers;
}

template <int kTile>
constexpr auto kPowers = make_powers<kTile>();

}  // namespace mmdet
